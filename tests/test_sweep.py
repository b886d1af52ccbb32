"""Whole sweeps with Ray's processes: what they promise of concurrency, equality and breaks."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrace import params
from retrace.learning.data import load_segments
from retrace.learning.sweep import checks
from retrace.learning.sweep.plan import Plan
from retrace.learning.sweep.prepared import own
from retrace.learning.sweep.results import Sweep, Trial
from retrace.learning.sweep.search import Search
from retrace.learning.training import fit, history_of
from tests.sources import ROOT
from tests.sweeps import SPACE, begun, planned, repository, run

ray = pytest.importorskip("ray")


def _alone(plan: Plan, trial: Trial, clean: Path, folder: Path) -> list[dict[str, float]]:
    """What `dvc exp run` with the trial's line trains, on data with a test part."""
    tree = checks.lay(plan.base, {**plan.space.fixed, **trial.values})
    settings = params.checked(tree)
    history = history_of(settings, folder)
    segments = load_segments(*own(clean, "waveforms"), settings.classes, settings.model.features)
    fit(settings, segments, history)
    history.forget()
    return history.rows


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with no garbage in it."""
    return repository(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Nine trials, two at a time, on data whose test part is garbage."""
    root = repository(tmp_path_factory.mktemp("root"), garbage=True)
    search = begun(planned(root, SPACE, samples=9))
    assert max(run(search)) <= 2
    return search


def test_bad_trials_end_early_and_good_ones_do_not(ended: Search) -> None:
    sweep = ended.sweep
    stopped = [trial for trial in sweep.trials if trial.state == "stopped"]

    assert {trial.state for trial in sweep.trials} == {"stopped", "finished"}
    assert {len(trial.rows) for trial in stopped} <= {1, 3}  # the rungs of grace 1, reduction 3
    assert sweep.ranked()[0].state == "finished"
    assert sum(len(trial.rows) for trial in sweep.trials) < 9 * 6
    assert ended.left == 0
    assert not (ended.plan.folder / "trials").exists()


def test_a_trial_is_the_training_of_its_line_and_sees_no_test_part(
    ended: Search, clean: Path, tmp_path: Path
) -> None:
    best, *_, worst = ended.sweep.ranked()

    for trial in (best, worst):
        alone = _alone(ended.plan, trial, clean, tmp_path / "alone")
        assert list(trial.rows) == alone[: len(trial.rows)]


def _start(root: Path, space: dict[str, Any], **options: Any) -> "subprocess.Popen[bytes]":
    """A sweep in a process of its own, in its own group."""
    code = (
        "import json, sys; from pathlib import Path; from tests.sweeps import *;"
        "root, space, options = Path(sys.argv[1]), *map(json.loads, sys.argv[2:]);"
        "run(begun(planned(root, space, **options)))"
    )
    given = [str(root), json.dumps(space), json.dumps(options)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, *given], env=environment)


def _until(path: Path, epochs: int, trial: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a journal knows of so many epochs of a trial."""
    while not path.is_file() or path.read_text().count(f'{{"trial": {trial}, "rows"') < epochs:
        assert process.poll() is None
        time.sleep(0.05)


def test_killed_and_resumed_it_keeps_what_it_has_and_ends_like_an_unbroken_one(
    tmp_path: Path, clean: Path
) -> None:
    root = repository(tmp_path)
    options: dict[str, Any] = {"samples": 3, "max_epochs": 15, "grace": 15}
    process = _start(root, SPACE, **options)
    journal = root / "runs/sweeps/small/journal.jsonl"
    _until(journal, 2, 3, process)  # two are trained at once: one of the first has ended
    process.kill()
    process.wait()
    before = journal.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    points = list((root / "runs/sweeps/small/trials").glob("*/resume/last.ckpt"))

    search = begun(planned(root, SPACE, **options), resume=True)
    known = {trial.number: len(trial.rows) for trial in search.sweep.trials}
    ended = [trial for trial in search.sweep.trials if trial.state == "finished"]
    run(search)

    assert ended and points and journal.read_bytes().startswith(before)
    broken_off = [number for number, count in known.items() if 0 < count < 15]
    assert [trial.number for trial in search.sweep.trials] == [1, 2, 3]
    assert {(trial.state, len(trial.rows)) for trial in search.sweep.trials} == {("finished", 15)}
    trial = search.sweep.trials[broken_off[0] - 1]
    assert list(trial.rows) == _alone(search.plan, trial, clean, tmp_path / "alone")
    # Going on at the last finished epoch, no epoch was told twice.
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    told = sum(len(event.get("rows", [])) for event in events)
    assert told == sum(len(trial.rows) for trial in search.sweep.trials)


def _workers() -> Iterator[int]:
    """The processes in which trials of ours are trained."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                owner = (entry / "environ").read_bytes()
            except OSError:
                continue
            if (
                command.startswith(b"ray::ImplicitFunc")
                and f"RETRACE_TEST={os.getpid()}".encode() in owner
            ):
                yield int(entry.name)


@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="finds workers in /proc")
def test_a_trial_that_fails_or_is_killed_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRACE_TEST", str(os.getpid()))
    space = {
        "model.name": "gru",
        "models.gru.heads": 4,
        "models.gru.hidden": {"choice": [8, 10]},
        "models.gru.dropout": {"uniform": [0, 0.5]},
    }
    options: dict[str, Any] = {"samples": 3, "max_epochs": 8, "grace": 8, "searcher": "random"}
    search = begun(planned(repository(tmp_path), space, **options))
    killed: list[int] = []

    def show(sweep: Sweep) -> None:
        trained = [trial for trial in sweep.trials if trial.state == "running" and trial.rows]
        if trained and not killed:
            for worker in _workers():
                os.kill(worker, signal.SIGKILL)
            killed.append(trained[0].number)

    search.run(1, None, None, show, print)

    trials = search.sweep.trials
    assert len(trials) == 3 and killed
    for trial in trials:
        if trial.values["models.gru.hidden"] == 10:
            assert trial.state == "failed"
            assert "models.gru.hidden: 10; must be a multiple" in trial.why
        elif trial.number == killed[0]:
            assert (trial.state, "ended from outside" in trial.why) == ("failed", True)
        else:
            assert trial.state == "finished"
    assert {trial.state for trial in trials} == {"failed", "finished"}


def test_a_cluster_whose_nodes_see_no_files_trains_the_same(
    tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    # Nodes of one machine do see them: a wrong token makes them believe that they do not.
    monkeypatch.setattr(Search, "_token", lambda self: "another disk")
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        cluster.wait_for_nodes()
        search = begun(planned(repository(tmp_path), SPACE, samples=2, max_epochs=3, grace=3))
        running = run(search, address=cluster.address)
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]

    assert max(running) <= 2
    for trial in search.sweep.trials:
        assert list(trial.rows) == _alone(search.plan, trial, clean, tmp_path / "alone")
    assert not list(search.plan.folder.glob("trials/*/resume"))
