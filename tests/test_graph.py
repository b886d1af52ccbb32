"""dvc.yaml itself: what it must say so that DVC re-runs what has changed, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace import registry
from tests.sources import ROOT, reachable

GRAPH: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES: dict[str, Any] = GRAPH["stages"]
EXEMPT = {
    # These decide whether a stage runs and what is said when it fails, never what it writes.
    Path("retrace/params.py"),
    Path("retrace/registry.py"),
    Path("retrace/errors.py"),
    # What these bring is decided by its SHA-256: mending them downloads and retrains nothing.
    Path("retrace/sources.py"),
    Path("retrace/depot.py"),
    Path("retrace/downloads.py"),
    # Trackers look on: what a stage writes is the same, byte for byte (tests/test_trackers.py).
    Path("retrace/learning/tracked_results.py"),
    Path("retrace/learning/trackers.py"),
}


def _resolved(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        found: Any = PARAMS
        for key in match[1].split("."):
            found = found[key]
        return str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def _names(stage: str, kind: str) -> list[str]:
    entries = STAGES[stage].get(kind, [])
    return [_resolved(next(iter(e)) if isinstance(e, dict) else e) for e in entries]


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_runs_is_a_dep(stage: str) -> None:
    listed = {Path(dep) for dep in _names(stage, "deps") if dep.endswith(".py")}

    needed = reachable({Path("stages") / f"{stage}.py"} | listed, EXEMPT)

    assert needed == listed


@pytest.mark.parametrize("model", registry.names("models"))
@pytest.mark.parametrize("stage", ["train", "export", "evaluate", "robustness"])
def test_every_module_of_every_model_is_a_dep(
    monkeypatch: pytest.MonkeyPatch, model: str, stage: str
) -> None:
    monkeypatch.setitem(PARAMS["model"], "name", model)
    monkeypatch.setitem(PARAMS["model"], "input", registry.model_input(model))

    test_every_module_that_a_stage_runs_is_a_dep(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_describes_itself_and_runs_its_own_module(stage: str) -> None:
    assert STAGES[stage]["desc"]
    assert STAGES[stage]["cmd"] == f"sh stages/python.sh -m stages.{stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_keys_that_exist(stage: str) -> None:
    for name in _names(stage, "params"):
        found: Any = PARAMS
        for key in name.split("."):
            assert key in found, name
            found = found[key]


def test_metrics_are_kept_in_git_and_not_in_the_cache() -> None:
    for stage in STAGES.values():
        for metric in stage.get("metrics", []):
            assert list(metric.values()) == [{"cache": False}]


def test_changing_a_model_file_leaves_the_other_models_alone() -> None:
    assert "retrace/models/${model.name}.py" in STAGES["train"]["deps"]
    assert not [dep for dep in STAGES["train"]["deps"] if dep == "retrace/models"]


def test_a_parser_is_no_dep_of_fetch() -> None:
    assert not [dep for dep in STAGES["fetch"]["deps"] if "datasets" in dep]
