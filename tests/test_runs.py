"""Comparing and publishing runs: what a lock says, and what may enter the repository."""

import json
from pathlib import Path

import pytest

from retrace.errors import InputError
from retrace.runs import locks
from retrace.runs.publish import publish
from tests.scratch import SMALL, change_params, commit_all, copy_repository, dvc

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
        ("lr: 1", "lr: 2", "different: params"),
        ("path: metrics.json", "path: other.json", "different: metrics.json"),
    ],
)
def test_a_difference_is_named(old: str, new: str, verdict: str) -> None:
    ours = locks.parse(LOCK.replace(old, new))

    assert verdict in [str(v) for v in locks.compare(ours, locks.parse(LOCK))]


def test_a_stage_that_has_not_run_is_named() -> None:
    assert [str(v) for v in locks.compare({}, locks.parse(LOCK))] == ["not run", "not run"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_repository(tmp_path_factory.mktemp("finished") / "repo")
    change_params(folder, SMALL)
    (folder / "recipes/synthetic.yaml").write_bytes((folder / "params.yaml").read_bytes())
    commit_all(folder)
    dvc(folder, "repro")
    return folder


def test_a_published_run_is_kept_with_its_bytes(finished: Path) -> None:
    said = publish(finished, "synthetic")

    kept = finished / "recipes/synthetic"
    assert (kept / "dvc.lock").read_bytes() == (finished / "dvc.lock").read_bytes()
    metrics = json.loads((kept / "metrics.json").read_text())
    assert f"| f1_macro | {metrics['f1_macro']} |" in (kept / "README.md").read_text()
    assert json.loads((kept / "cost.json").read_text())["epochs"] == SMALL["epochs"]
    assert "store" in "".join(said)
    assert "in sync" in dvc(finished, "status", "--cloud", "--remote", "store")


def test_an_unfinished_run_is_not_published(finished: Path, tmp_path: Path) -> None:
    params = finished / "params.yaml"
    before = params.read_text()
    try:
        params.write_text(before.replace("seed: 7", "seed: 8"))
        with pytest.raises(InputError, match="not that of recipe synthetic"):
            publish(finished, "synthetic")
        (finished / "recipes/synthetic.yaml").write_text(params.read_text())
        with pytest.raises(InputError, match="only a finished run is published"):
            publish(finished, "synthetic")
    finally:
        params.write_text(before)
        (finished / "recipes/synthetic.yaml").write_text(before)


def test_an_unknown_recipe_is_named_with_the_known_ones(finished: Path) -> None:
    with pytest.raises(InputError, match="recipe 'x': unknown; there are synthetic"):
        publish(finished, "x")


def test_a_run_too_large_for_the_store_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.runs.publish.DEFAULT_RUN_MB", 0.001)

    with pytest.raises(InputError, match=r"at most 0\.001 MB"):
        publish(finished, "synthetic")
