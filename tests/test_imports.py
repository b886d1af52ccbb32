"""Data flows one way: which wing of the library may know which."""

from pathlib import Path

import pytest

from tests.sources import ROOT, imports, local_imports, reachable

LIBRARY = sorted((ROOT / "retrace").rglob("*.py"))
ORDER = ("datasets", "signals", "learning", "models", "scoring", "runs", "deploy", "service")
# What a wing may know of the others; every wing may know itself and the files at the root.
MAY_KNOW = {
    "datasets": {"signals"},
    "signals": set(),
    "models": set(),
    "scoring": {"signals"},
    "learning": {"signals", "models", "scoring"},
    "runs": {"signals", "scoring"},
    "deploy": {"signals", "scoring"},
    "service": {"datasets", "signals", "scoring", "runs", "deploy"},
}
# Of `deploy` the part that turns a checkpoint into ONNX, before anything is deployed.
EXPORT = [
    ROOT / "retrace/deploy" / f"{name}.py"
    for name in ("export", "network_graph", "quantise", "tree_graph")
]
HEAVY = {"dvc", "lightning", "onnx", "pydantic", "sklearn", "torch", "xgboost", "yaml"}


def _wing(path: Path) -> str:
    parts = path.relative_to(ROOT / "retrace").parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_no_wing_above_its_own(path: Path) -> None:
    wing = _wing(path)
    known = {_wing(ROOT / module) for module in local_imports(path)} - {"", wing}

    if wing in MAY_KNOW:
        assert known <= MAY_KNOW[wing] | ({"learning"} if path in EXPORT else set())


def test_what_is_deployed_needs_nothing_that_training_needs() -> None:
    deployed = {path for path in LIBRARY if _wing(path) == "deploy"} - set(EXPORT)
    needed = reachable({path.relative_to(ROOT) for path in deployed}, set())

    assert not needed & {path.relative_to(ROOT) for path in EXPORT}
    for path in needed:
        assert not {name.split(".")[0] for name in imports(ROOT / path)} & HEAVY, path


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_the_library_imports_a_stage(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] == "stages"]


def test_datasets_know_only_records() -> None:
    for path in (ROOT / "retrace/datasets").glob("*.py"):
        known = {module for module in local_imports(path) if len(module.parts) > 2}
        others = {module for module in known if module.parent != Path("retrace/datasets")}
        assert others <= {Path("retrace/signals/records.py")}


def test_package_files_are_empty() -> None:
    ours = ("benchmarks", "examples", "retrace", "stages", "tests")
    found = [path for name in ours for path in (ROOT / name).rglob("__init__.py")]

    assert found
    assert [path for path in found if path.read_text()] == []
