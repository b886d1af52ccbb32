"""Comparing, publishing and rebuilding runs: what a lock says, and what enters the repository."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from retrace import cli
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.learning.separation import Separation
from retrace.runs import locks, models
from retrace.runs.compare import compare
from retrace.runs.hashes import md5
from retrace.runs.numbered import Numbers
from retrace.runs.publish import publish
from retrace.runs.verify import verify
from retrace.scoring.beats import reports
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.matching import Beats
from tests.publisher import flipped
from tests.scratch import SMALL, change_params, commit_all, copy_repository, dvc, run

LOCK = """
schema: '2.0'
stages:
  fetch:
    cmd: x
    params: {params.yaml: {lr: 1}}
    outs:
    - {path: data/raw, md5: aaa.dir}
  train:
    cmd: y
    outs:
    - {path: models/checkpoint, md5: bbb.dir}
    - {path: metrics.json, md5: ccc}
"""


def test_equal_locks_are_the_same_stage_by_stage() -> None:
    verdicts = locks.compare(locks.parse(LOCK), locks.parse(LOCK))

    assert [(v.stage, v.state) for v in verdicts] == [("fetch", "same"), ("train", "same")]


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("bbb.dir", "ddd.dir", "different: models/checkpoint"),
        ("lr: 1", "lr: 2", "different: param lr"),
        ("path: metrics.json", "path: other.json", "different: metrics.json"),
    ],
)
def test_a_difference_is_named(old: str, new: str, verdict: str) -> None:
    ours = locks.parse(LOCK.replace(old, new))

    assert verdict in [str(v) for v in locks.compare(ours, locks.parse(LOCK))]


def test_a_stage_that_has_not_run_is_named() -> None:
    assert [str(v) for v in locks.compare({}, locks.parse(LOCK))] == ["not run", "not run"]


# One small training for all: the default run, and the recipe `again`, which scores it once more.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the default recipe; tests leave it as they found it."""
    folder = copy_repository(tmp_path_factory.mktemp("finished") / "repo")
    for pointer in folder.glob("recipes/*/*.dvc"):  # their store is not copied
        pointer.unlink()
    change_params(folder, SMALL)
    (folder / "recipes/synthetic.yaml").write_bytes((folder / "params.yaml").read_bytes())
    commit_all(folder)
    dvc(folder, "repro")
    return folder


@pytest.fixture(scope="module")
def again(finished: Path) -> Path:
    """The same repository with a finished and published run of a partial recipe, committed."""
    folder = finished.parent / "again"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "store", ignore_errors=True)
    recipe = "# The small run, with other intervals.\nevaluate:\n  resamples: 120\n"
    (folder / "recipes/again.yaml").write_text(recipe)
    run(folder, "retrace", "recipe", "again")
    dvc(folder, "repro")
    run(folder, "retrace", "publish", "again")
    (folder / "recipes/again/rr_baseline.json").write_text("{}")  # as a benchmark leaves it
    commit_all(folder)
    return folder


def _store(folder: Path) -> set[Path]:
    return {path for path in (folder / "store").rglob("*") if path.is_file()}


def _shell_blocks(page: Path) -> list[list[str]]:
    return [
        block.split("\n") for block in re.findall(r"```sh\n(.*?)\n```", page.read_text(), re.DOTALL)
    ]


def test_a_published_run_is_kept_with_its_bytes(finished: Path) -> None:
    said = publish(finished, "synthetic")

    kept = finished / "recipes/synthetic"
    assert (kept / "dvc.lock").read_bytes() == (finished / "dvc.lock").read_bytes()
    assert json.loads((kept / "cost.json").read_text())["epochs"] == SMALL["epochs"]
    answered = sum(int(row["answers"]) for row in read_csv(kept / "answers.csv"))
    assert answered == len(read_csv(finished / "plots/test/predictions.csv"))
    assert any(line.startswith("store: ") and "MB of this run" in line for line in said)
    assert "in sync" in dvc(finished, "status", "--cloud", "--remote", "store")


def test_the_page_of_a_run_has_its_scores_with_intervals_and_the_baseline(again: Path) -> None:
    page = (again / "recipes/again/README.md").read_text()
    scores = json.loads((again / "recipes/again/scores.json").read_text())

    assert "The small run, with other intervals." in page
    value = "| accuracy | {value:.3f} | {low:.3f} to {high:.3f} |".format(
        **scores["overall"]["accuracy"]
    )
    assert f"{value} {scores['baselines']['majority']['accuracy']['value']:.3f} |" in page
    for image in re.findall(r"!\[.*\]\((.*)\)", page):
        assert (again / "recipes/again" / image).is_file()


def _stored(folder: Path) -> set[str]:
    """The outputs of the run `again` that are in the store."""
    outs = locks.outs(locks.parse((folder / "recipes/again/dvc.lock").read_text()))
    stored = {path.parent.name + path.name for path in _store(folder)}
    return {path for path, md5 in outs.items() if md5 in stored}


def test_of_another_recipe_the_model_alone_is_stored(again: Path) -> None:
    assert _stored(again) == {"models/checkpoint", "models/model.onnx", "plots/train"}


@pytest.fixture(scope="module")
def clone(again: Path) -> tuple[Path, str]:
    """A clone that had the default recipe and no run, and what it said as it followed the page."""
    folder = again.parent / "clone"
    run(again.parent, "git", "clone", "-q", str(again), str(folder))
    run(folder, "retrace", "recipe", "synthetic")
    (folder / "dvc.lock").unlink()
    _, (onnx, _), trained = _shell_blocks(folder / "recipes/again/README.md")
    return folder, "".join(run(folder, "sh", "-c", line) for line in (onnx, *trained))


def test_a_clone_that_follows_the_page_rebuilds_all_but_the_training(
    clone: tuple[Path, str],
) -> None:
    folder, said = clone

    weights = (folder / "models/checkpoint/weights.safetensors").read_bytes()
    cost = json.loads((folder / "recipes/again/cost.json").read_text())
    assert hashlib.sha256(weights).hexdigest() == cost["weights_sha256"]
    assert "Running stage 'cwt'" in said and "Running stage 'train'" not in said
    assert "verified: every stage wrote the bytes" in said


def test_the_page_says_how_to_rebuild_the_run_and_how_to_use_its_model(again: Path) -> None:
    rebuild, onnx, trained = _shell_blocks(again / "recipes/again/README.md")

    assert rebuild == ["retrace recipe again", "dvc repro", "retrace verify again"]
    assert onnx == [
        "dvc pull recipes/again/model.onnx",
        "retrace predict --model again RECORDING",
    ]
    assert trained == ["retrace recipe again --trained", *rebuild[1:]]


def test_the_model_that_a_clone_pulls_is_the_one_that_the_run_wrote(
    again: Path, clone: tuple[Path, str]
) -> None:
    pulled = models.find(clone[0], "again")

    assert pulled.read_bytes() == (again / "models/model.onnx").read_bytes()
    assert "again" in models.listing(clone[0])
    assert run(clone[0], "git", "status", "--porcelain", "recipes") == ""


def test_a_pulled_run_that_is_published_again_changes_nothing(clone: tuple[Path, str]) -> None:
    publish(clone[0], "again")

    assert run(clone[0], "git", "status", "--porcelain", "recipes", "store") == ""


@pytest.fixture
def fresh(again: Path, tmp_path: Path) -> Path:
    """A clone with no run; its params.yaml and dvc.lock are those of the commit."""
    run(tmp_path, "git", "clone", "-q", str(again), "fresh")
    return tmp_path / "fresh"


def test_the_way_back_to_another_run_leaves_nothing_to_do(fresh: Path) -> None:
    run(fresh, "retrace", "recipe", "again", "--trained")
    (fresh / "metrics/train/plots/metrics/val_other.tsv").write_text("of another score\n")

    run(fresh, "retrace", "recipe", "again", "--trained")

    assert run(fresh, "git", "status", "--porcelain") == ""


def test_a_summary_of_scores_of_another_run_is_refused(again: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(again, folder)
    scores = json.loads((folder / "metrics/test.json").read_text()) | {"f1_macro": 0.123}
    (folder / "metrics/test.json").write_text(json.dumps(scores))

    assert "of another run" in run(folder, "retrace", "summary", check=False)


def test_a_reader_that_closes_early_is_no_fault(again: Path) -> None:
    said = run(
        again,
        "sh",
        "-c",
        "for i in 1 2 3; do retrace recipe; done | true; retrace recipe | head -1",
    )

    assert "Traceback" not in said and "Broken" not in said


def test_a_model_that_is_not_in_the_store_changes_nothing(fresh: Path) -> None:
    shutil.rmtree(fresh / "store")
    run(fresh, "retrace", "recipe", "synthetic")
    run(fresh, "git", "commit", "-qam", "default")
    before = {name: (fresh / name).read_bytes() for name in ("params.yaml", "dvc.lock")}

    said = run(fresh, "retrace", "recipe", "again", "--trained", check=False)

    assert "its trained model cannot be had from store/" in said
    assert before == {name: (fresh / name).read_bytes() for name in before}


def test_a_run_that_is_saved_nowhere_is_not_replaced(fresh: Path) -> None:
    lock = fresh / "dvc.lock"
    lock.write_text(lock.read_text() + "# mine\n")

    said = run(fresh, "retrace", "recipe", "again", "--trained", check=False)

    assert "dvc.lock: is of a run that is neither committed nor published" in said
    assert lock.read_text().endswith("# mine\n")


def test_changed_training_code_is_named_since_it_will_train_again(fresh: Path) -> None:
    code = fresh / "retrace/learning/balance.py"
    code.write_text(code.read_text() + "# changed\n")

    said = run(fresh, "retrace", "recipe", "again", "--trained")

    assert "will train again: retrace/learning/balance.py changed" in said


def test_a_rebuilt_run_is_verified(
    again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(again)

    cli.main(["verify", "again"])

    assert "verified: every stage wrote the bytes" in capsys.readouterr().out


def test_a_run_that_is_not_the_published_one_ends_with_exit_code_1(
    again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(again)
    lock = again / "recipes/again/dvc.lock"
    before = lock.read_text()
    split = locks.hashes(locks.parse(before)["split"], "outs")["data/split.csv"]
    try:
        lock.write_text(before.replace(split, "0" * 32))
        with pytest.raises(SystemExit) as ended:
            cli.main(["verify", "again"])
    finally:
        lock.write_text(before)

    assert ended.value.code == 1
    assert "not verified: split" in capsys.readouterr().out


@pytest.fixture
def planted(again: Path, tmp_path: Path) -> Path:
    """The finished run without what is not its own, to be harmed."""
    folder = tmp_path / "planted"
    shutil.copytree(again, folder, ignore=shutil.ignore_patterns(".git", "cache", "store"))
    return folder


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _flip_a_bit(root: Path) -> None:
    path = next((root / "data/raw").rglob("*.dat"))
    before = path.stat()
    path.write_bytes(flipped(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk does it


def _swap_checkpoint(root: Path) -> None:
    weights = root / "models/checkpoint/weights.safetensors"
    state = load_file(weights)
    save_file({name: np.array(-value) for name, value in state.items()}, weights)


def _swap_onnx(root: Path) -> None:
    (root / "models/model.onnx").write_bytes(b"of another run")


def _edit_metrics(root: Path) -> None:
    path = root / "metrics/test.json"
    scores = json.loads(path.read_text())
    own = json.loads((root / "recipes/again/scores.json").read_text())["overall"]["accuracy"]
    path.write_text(json.dumps(scores | {"accuracy": own["high"]}))  # inside its interval


def _edit_split(root: Path) -> None:
    _replace(root / "data/split.csv", "test", "train")


def _lose_a_file(root: Path) -> None:
    next((root / "data/waveforms").iterdir()).unlink()


def _change_a_rate(root: Path) -> None:
    _replace(root / "params.yaml", "\nlr: 0.003", "\nlr: 0.004")


def _change_the_filter(root: Path) -> None:
    _replace(root / "params.yaml", "  high: 50", "  high: 40")


@pytest.mark.parametrize(
    ("plant", "stages", "what"),
    [
        (_flip_a_bit, "fetch", "data/raw (changed since the stage wrote it)"),
        (_lose_a_file, "segment", "data/waveforms (changed since the stage wrote it)"),
        (_edit_split, "split", "data/split.csv (changed since the stage wrote it)"),
        (_swap_checkpoint, "train", "models/checkpoint (changed since the stage wrote it)"),
        (_swap_onnx, "export", "models/model.onnx (changed since the stage wrote it)"),
        (_edit_metrics, "evaluate", "metrics/test.json (changed since the stage wrote it)"),
        (_change_a_rate, "train, export", "param lr"),
        (_change_the_filter, "bandpass, segment, export, robustness", "param bandpass.high"),
    ],
)
def test_a_planted_difference_is_named_with_its_stage_and_no_other(
    planted: Path, plant: Callable[[Path], None], stages: str, what: str
) -> None:
    plant(planted)

    judgement = verify(planted, "again")

    rows = [line.split(maxsplit=1) for line in judgement.lines[0].splitlines()]
    different = {name: said for name, said in rows if said.startswith("different")}
    assert judgement.status == 1
    assert different == dict.fromkeys(stages.split(", "), f"different: {what}")


def _commit(root: Path) -> None:
    """What `dvc commit` does: dvc.lock takes what is found."""
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        for item in (*stage["deps"], *stage["outs"]):
            item["md5"] = md5(root / item["path"])
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


@pytest.mark.parametrize(
    ("plant", "stage", "what"),
    [
        (_swap_checkpoint, "train", "models/checkpoint (not the model that was scored)"),
        (_edit_metrics, "evaluate", "metrics/test.json (not the scores that the stage wrote"),
        (_swap_onnx, "export", "models/model.onnx (not made from models/checkpoint)"),
        (_flip_a_bit, "fetch", "data/raw"),
    ],
)
def test_a_planted_difference_is_named_though_it_was_committed_to_dvc(
    planted: Path, plant: Callable[[Path], None], stage: str, what: str
) -> None:
    plant(planted)
    _commit(planted)

    judgement = verify(planted, "again")

    rows = dict(line.split(maxsplit=1) for line in judgement.lines[0].splitlines())
    assert judgement.status == 1
    assert rows[stage].startswith(f"different: {what}")
    assert {name for name, said in rows.items() if said != "same"} == {stage}


def test_without_its_data_nothing_can_be_told_of_a_run(planted: Path) -> None:
    shutil.rmtree(planted / "data")

    judgement = verify(planted, "again")

    assert judgement.status == 2
    assert "cannot be told: " in judgement.lines[-1] and "run dvc repro" in judgement.lines[-1]
    assert "not run: data/raw is missing" in judgement.lines[0]


def test_code_that_changed_since_the_run_has_to_run_first(planted: Path) -> None:
    code = planted / "stages/split.py"
    code.write_text(code.read_text() + "# changed\n")

    judgement = verify(planted, "again")

    assert judgement.status == 2 and "cannot be told: split" in judgement.lines[-1]


def test_a_workspace_without_a_run_cannot_be_verified(planted: Path) -> None:
    (planted / "dvc.lock").unlink()

    with pytest.raises(InputError, match=r"dvc\.lock: missing.*run dvc repro"):
        verify(planted, "again")


def test_the_run_of_another_recipe_is_not_verified_and_its_params_are_named(
    again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(again)

    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "synthetic"])

    assert ended.value.code == 1
    assert "different: param evaluate.resamples" in (said := capsys.readouterr().out)
    assert "run retrace recipe synthetic, then dvc repro" in said


def test_while_dvc_is_at_work_no_run_is_looked_at(again: Path, planted: Path) -> None:
    shutil.copytree(again / ".git", planted / ".git")
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}
    lock = planted / ".dvc/tmp/rwlock"
    lock.write_text(json.dumps({"write": {str(planted / "data/raw"): holder}}))

    for look in (lambda: verify(planted, "again"), lambda: compare(planted, ["workspace"])):
        with pytest.raises(InputError, match=r"^dvc: another .* wait until it has ended$"):
            look()


def test_what_a_killed_dvc_left_behind_is_no_work(planted: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    holder = {"pid": ended.pid, "cmd": "dvc repro"}
    (planted / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"/x": holder}}))

    assert verify(planted, "again").verified


def test_the_workspace_is_compared_with_a_published_run(
    again: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(again)

    cli.main(["compare", "workspace", "again"])

    said = capsys.readouterr().out
    assert said.split()[:2] == ["workspace", "again"]
    assert "Same test part" in said and "params that differ" not in said


def test_of_recordings_of_one_s_own_no_name_is_published(
    again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(again, folder)
    monkeypatch.setattr("retrace.runs.publish.OWN", "synthetic")

    publish(folder, "again")

    rows = read_csv(folder / "recipes/again/answers.csv")
    for column, letter in (("patient_id", "p"), ("record_id", "r")):
        shown = list(dict.fromkeys(row[column] for row in rows))
        assert shown == [f"{letter}{number:04}" for number in range(1, len(shown) + 1)]
    for path in (folder / "recipes/again").rglob("*"):
        assert not path.is_file() or not re.search(rb"p\d{4}r\d{2}", path.read_bytes())
    assert "are numbered" in (folder / "recipes/again/README.md").read_text()
    assert "Not paired" not in compare(folder, ["workspace", "again"])


def test_of_one_s_own_records_the_scores_name_none() -> None:
    def record(name: str, symbols: str) -> Recording:
        beats = Beats(np.arange(1, 41) * 360, tuple(symbols * 10))
        test = Beats(beats.samples, tuple("NNVN" * 10))
        p = np.eye(3)[["NSV".index(symbol) for symbol in test.symbols]]
        return Recording(name, None, 60.0, "F", 360.0, beats, test, p)

    given = [record("8", "NNVN"), record("H8", "NN/N"), record("H9", "NVVN"), record("9", "NNNN")]
    options: dict[str, Any] = {"classes": tuple("NSV"), "with_paced": False, "notes": []}
    split = Separation("stratified", 8, ["8"], ["8", "H9"], whole=True, stamp=None)
    tree = {
        "split": split.to_dict(),
        "ec57": reports(given, [], apart=split.apart, resamples=20, seed=7, **options),
    }
    published = Numbers().scores(tree)

    own = published["ec57"]["papers"]
    numbers = {"r0001", "r0002", "r0003", "r0004"}
    assert published["split"]["note"].startswith("1 of 8 test patients is in train or val")
    assert "(here r0001, r0002)" in published["split"]["note"]
    assert set(own["records"]) < numbers and "Paced records left out: r0003." in own["notes"]
    assert own["calibration"]["worst_record"]["record_id"] in numbers
    assert list(own["without"]) == ["r0001 and r0002"]
    assert not re.search(r'"(H?[89])\b|H[89]', json.dumps(published))
    assert "H9" in json.dumps(tree)


def test_the_summary_holds_a_recipe_against_its_published_run(again: Path) -> None:
    assert "Against recipes/again/dvc.lock" in run(again, "retrace", "summary")


def test_a_model_too_large_for_the_store_is_published_without_its_bytes(
    again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "large"
    shutil.copytree(again, folder)
    shutil.rmtree(folder / "store")
    monkeypatch.setattr("retrace.runs.publish.MODEL_MB", 0)

    publish(folder, "again")

    page = (folder / "recipes/again/README.md").read_text()
    cost = json.loads((folder / "recipes/again/cost.json").read_text())
    assert _store(folder) == set()
    assert cost["weights_sha256"] in page and "is not in the store" in page
    assert "--trained" not in page and "--model" not in page
    assert not list((folder / "recipes/again").glob("model*"))


def test_a_model_can_be_published_as_onnx_alone(again: Path, tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(again, folder)
    shutil.rmtree(folder / "store")

    publish(folder, "again", checkpoint=False)

    page = (folder / "recipes/again/README.md").read_text()
    assert _stored(folder) == {"models/model.onnx"}
    assert "--model again" in page and "--trained" not in page


def test_a_store_that_is_full_takes_no_model(
    again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "full"
    shutil.copytree(again, folder)
    shutil.rmtree(folder / "store")
    monkeypatch.setattr("retrace.runs.publish.STORE_MB", 0.001)

    with pytest.raises(InputError, match=r"at most 0\.001 MB.*--without-model"):
        publish(folder, "again")

    assert _store(folder) == set()


def test_an_unfinished_run_is_not_published(finished: Path) -> None:
    params = finished / "params.yaml"
    before = params.read_text()
    try:
        params.write_text(before.replace("seed: 7", "seed: 8"))
        with pytest.raises(InputError, match=r"params\.yaml: seed: not as in recipe synthetic"):
            publish(finished, "synthetic")
        (finished / "recipes/synthetic.yaml").write_text(params.read_text())
        with pytest.raises(InputError, match="it must be a finished run"):
            publish(finished, "synthetic")
    finally:
        params.write_text(before)
        (finished / "recipes/synthetic.yaml").write_text(before)


def test_an_unknown_recipe_is_named_with_the_known_ones(finished: Path) -> None:
    with pytest.raises(InputError, match=r"recipe 'x': unknown; there are cachet.* lists all"):
        publish(finished, "x")


def test_a_default_run_too_large_for_the_store_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.runs.publish.DEFAULT_RUN_MB", 0.001)

    with pytest.raises(InputError, match=r"at most 0\.001 MB"):
        publish(finished, "synthetic")
