"""Runs that only Git knows: DVC's experiments and earlier commits, as far as the cache has them."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace import cli
from retrace.errors import InputError
from retrace.runs import experiments
from retrace.runs.compare import compare
from retrace.runs.run import Run
from tests.published import beat_run
from tests.scratch import commit_all, run

RECORDS = [{"record_id": str(n), "patient_id": f"p{n}"} for n in range(8)]


def _csv(rows: list[dict[str, str]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def _keep(root: Path, content: bytes, ending: str = "") -> str:
    """Put bytes into DVC's cache; their hash."""
    md5 = hashlib.md5(content).hexdigest() + ending
    path = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def _keep_folder(root: Path, files: dict[str, bytes]) -> str:
    listing = [{"md5": _keep(root, content), "relpath": name} for name, content in files.items()]
    return _keep(root, json.dumps(listing).encode(), ".dir")


def _predictions(right: int) -> bytes:
    rows = [
        {"record_id": str(record), "actual": "N", "predicted": "N" if beat < right else "V"}
        for record in range(8)
        for beat in range(100 + record)
    ] + [{"record_id": str(n), "actual": "V", "predicted": "V"} for n in range(8)]
    return _csv(rows)


def _commit(root: Path, one: Run, right: int | None) -> str:
    """A commit on no branch with a run's lock and metrics. right: how many of each record's beats
    it answered right; None: nothing of it is in the cache."""
    lock: Any = json.loads(json.dumps(one.lock))
    outs = {out["path"]: out for stage in lock.values() for out in stage["outs"]}
    outs["models/checkpoint"]["md5"] = f"{hashlib.md5(one.name.encode()).hexdigest()}.dir"
    outs["plots/test"]["md5"] = f"{hashlib.md5(one.name.encode()).hexdigest()}.dir"
    if right is not None:
        files = {"scores.json": json.dumps(one.scores).encode()}
        files["predictions.csv"] = _predictions(right)
        outs["plots/test"]["md5"] = _keep_folder(root, files)
        outs["data/filtered"]["md5"] = _keep_folder(root, {"records.csv": _csv(RECORDS)})
        weights = {"weights.safetensors": one.name.encode()}
        outs["models/checkpoint"]["md5"] = _keep_folder(root, weights)
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": lock}), encoding="utf-8")
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics/test.json").write_text(json.dumps(one.metrics), encoding="utf-8")
    run(root, "git", "add", "dvc.lock", "metrics")
    tree = run(root, "git", "write-tree").strip()
    commit = run(root, "git", "commit-tree", tree, "-m", one.name).strip()
    run(root, "git", "reset", "-q", "--hard")
    return commit


def _experiment(root: Path, one: Run, right: int | None) -> str:
    baseline, commit = "ab" + "0" * 38, _commit(root, one, right)
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{one.name}"
    run(root, "git", "update-ref", ref, commit)
    return commit


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the experiments `good`, `poor` and `bare`, the last not in the cache."""
    folder = tmp_path_factory.mktemp("repository")
    for path in (".dvc", "recipes", "runs/key"):
        (folder / path).mkdir(parents=True)
    (folder / ".dvc/config").touch()
    (folder / ".gitignore").write_text("/.dvc/cache\n/runs/\n", encoding="utf-8")
    (folder / "dvc.yaml").touch()
    commit_all(folder)
    for name, right in {"good": 95, "poor": 60, "bare": None}.items():
        made = beat_run(name, 4.0, "ds1_ds2", lr=0.5 if name == "good" else 0.25)
        _experiment(folder, replace(made, name=name), right)
    cost: dict[str, Any] = {"training_seconds": 60, "parameters": 1234}
    cost["weights_sha256"] = hashlib.sha256(b"good").hexdigest()
    (folder / "runs/key/cost.json").write_text(json.dumps(cost), encoding="utf-8")
    machine = {"gpu": "none", "threads": "1", "cpu_capability": "AVX2"}
    (folder / "runs/key/environment.json").write_text(json.dumps(machine), encoding="utf-8")
    return folder


def test_experiments_are_compared_in_pairs_from_what_dvc_keeps(root: Path) -> None:
    said = compare(root, ["good", "poor"])

    assert "good is better than poor by 0." in said
    differ = said.split("params that differ")[1]
    assert ["lr", "0.5", "0.25"] in [line.split() for line in differ.splitlines()]


def test_the_cost_of_a_training_here_is_found_by_its_weights(root: Path) -> None:
    found = json.loads(compare(root, ["good", "poor"], form="json"))["runs"]

    rows = {row["run"]: row for row in found}
    assert (rows["good"]["parameters"], rows["good"]["machine"]) == (1234, "1 CPU thread (AVX2)")
    assert rows["poor"]["training_seconds"] is None


def test_so_is_that_of_a_training_that_was_published(root: Path) -> None:
    known = root / "recipes/theirs"
    shutil.copytree(root / "runs/key", known)
    known.with_suffix(".yaml").touch()
    (known / "dvc.lock").touch()
    cost = json.loads((known / "cost.json").read_text())
    cost["weights_sha256"] = hashlib.sha256(b"poor").hexdigest()
    (known / "cost.json").write_text(json.dumps(cost))
    try:
        [row] = json.loads(compare(root, ["poor"], form="json"))["runs"]
    finally:
        shutil.rmtree(known)
        known.with_suffix(".yaml").unlink()

    assert row["parameters"] == 1234


def test_a_git_that_never_ends_is_a_sentence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "git"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(experiments, "PATIENCE", 0.1)

    with pytest.raises(InputError, match=r"^git for-each-ref: no answer for 0\.1 s"):
        experiments.commits(root)


def test_without_the_cache_git_s_headline_is_shown_and_said_to_be_all(root: Path) -> None:
    said = compare(root)

    row = next(line for line in said.splitlines() if line.startswith("bare "))
    metrics = beat_run("bare", 4.0, "ds1_ds2").metrics
    assert "{f1_macro:.3f} ({f1_macro_low:.3f} to {f1_macro_high:.3f})".format(**metrics) in row
    assert f"{metrics['accuracy']:.3f}  " in row
    assert "Not paired: bare: DVC's cache has no scores.json of it" in said
    assert "f1_macro above majority  -" in compare(root, ["bare", "good"])


def test_bytes_that_are_damaged_are_not_believed(root: Path, tmp_path: Path) -> None:
    for path in (root / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file() and b'"overall"' in (content := path.read_bytes()):
            path.write_bytes(content + b" ")
            break
    else:
        raise AssertionError("no scores in the cache")
    try:
        assert "DVC's cache has no scores.json" in compare(root, ["good", "poor"])
    finally:
        path.write_bytes(content)


def test_an_earlier_commit_can_be_named_by_any_revision(root: Path) -> None:
    commit = experiments.commits(root)["poor"]
    run(root, "git", "tag", "-f", "before", commit)

    row = compare(root, ["before", "good"], form="csv").splitlines()[1]

    assert row.startswith("before,synthetic,")
    assert commit[:10] in compare(root, [commit[:10]]).splitlines()[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HEAD", "HEAD: its commit has no dvc.lock of a run that was evaluated"),
        ("goood", "run 'goood': unknown; did you mean good?"),
        ("--all", "run '--all': unknown"),
    ],
)
def test_what_is_no_run_is_a_sentence(root: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        compare(root, [name])


QUEUE = """Task     Name    Created       Status
55c90e1  waits   07:16 PM      Queued
7a8b9c0          Nov 20, 2026  Failed
d5e8048  ended   07:25 PM      Success

Worker status: 0 active, 0 idle
"""


def test_experiments_that_wait_or_failed_are_named_without_figures(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".dvc/tmp/exps/celery").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(experiments, "dvc", lambda *_: QUEUE)

    said = compare(root)

    assert "Experiment waits: queued, no figures" in said
    assert "Experiment 7a8b9c0: failed, no figures" in said
    assert "ended" not in said and "Worker" not in said
    with pytest.raises(InputError, match="experiment waits: queued; only a finished one"):
        compare(root, ["waits"])


def test_an_experiment_with_a_recipe_s_name_is_asked_to_take_another(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    (root / "recipes/good.yaml").touch()
    try:
        cli.main(["compare"])
    finally:
        (root / "recipes/good.yaml").unlink()

    assert "Left out: experiment good: has a recipe's name" in capsys.readouterr().out


def test_without_git_there_are_no_experiments(tmp_path: Path) -> None:
    assert experiments.commits(tmp_path) == {} and experiments.commit(tmp_path, "main") is None
    assert experiments.unfinished(tmp_path) == []
