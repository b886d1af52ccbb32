"""What is committed can be had again: the data stages' bytes, the store, the published run."""

import hashlib
import json
import platform
from pathlib import Path

import pytest
import yaml

from retrace.runs import locks
from tests.scratch import commit_all, copy_repository, dvc, run
from tests.sources import ROOT

DATA_STAGES = ("fetch", "bandpass", "segment", "cwt", "split")
STORE, STORE_BYTES = ROOT / "store", 64_000_000
# An x86-64 processor of 2010, without AVX2, FMA and AVX-512: NumPy's own loops, the C library's
# exp, sin and pow (Linux), and OpenBLAS, should a data stage ever come to use it.
OLD_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OMP_NUM_THREADS": "1",
}


def _lock(path: Path) -> locks.Lock:
    return locks.parse(path.read_text(encoding="utf-8"))


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the data stages promise x86-64 alone"
)
def test_the_data_stages_give_the_committed_bytes_on_an_old_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OLD_PROCESSOR.items():
        monkeypatch.setenv(name, value)
    folder = copy_repository(tmp_path)
    commit_all(folder)
    features = "from numpy._core._multiarray_umath import __cpu_features__ as f; print(f['X86_V3'])"
    assert run(folder, "sh", "stages/python.sh", "-c", features).strip() == "False"

    dvc(folder, "repro", "cwt", "split")

    verdicts = locks.compare(_lock(folder / "dvc.lock"), _lock(ROOT / "dvc.lock"))
    found = {verdict.stage: str(verdict) for verdict in verdicts if verdict.stage in DATA_STAGES}
    assert found == dict.fromkeys(DATA_STAGES, "same")


# The bundled store


def _objects() -> dict[str, Path]:
    """The store's files by their hash, which is their name; a folder's listing ends in .dir."""
    below = STORE / "files/md5"
    found = {path.parent.name + path.name: path for path in below.rglob("*") if path.is_file()}
    assert found, "store/ holds nothing: `retrace publish synthetic` fills it"
    return found


def _hashes(lock: Path, objects: dict[str, Path]) -> set[str]:
    """The hashes of all files that a lock's outs consist of."""
    hashes = set()
    for stage in _lock(lock).values():
        for out in stage["outs"]:
            hashes.add(out["md5"])
            if out["md5"].endswith(".dir") and out["md5"] in objects:
                hashes |= {file["md5"] for file in json.loads(objects[out["md5"]].read_bytes())}
    return hashes


def test_every_object_of_the_store_is_what_its_name_says() -> None:
    for name, path in _objects().items():
        assert hashlib.md5(path.read_bytes()).hexdigest() == name.removesuffix(".dir"), path


def test_the_store_stays_small_and_holds_published_runs_alone() -> None:
    objects = _objects()
    published: set[str] = set()
    for lock in ROOT.glob("recipes/*/dvc.lock"):
        published |= _hashes(lock, objects)

    assert objects.keys() <= published
    assert len([path for path in STORE.rglob("*") if path.is_file()]) == len(objects)
    assert sum(path.stat().st_size for path in objects.values()) < STORE_BYTES


def test_a_pull_finds_every_output_of_the_default_run() -> None:
    objects = _objects()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    in_git = {
        f"metrics/{path}"
        for path in ("train/metrics.json", "train/plots", "export.json", "test.json")
    }
    lock = _lock(ROOT / "dvc.lock")
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}

    assert lock.keys() == stages.keys()
    for path, md5 in outs.items():
        if path not in in_git:
            assert md5 in objects, path
            files = json.loads(objects[md5].read_bytes()) if md5.endswith(".dir") else []
            assert {file["md5"] for file in files} <= objects.keys(), path


# The published default run


def test_the_workspace_is_the_published_default_run() -> None:
    published = ROOT / "recipes/synthetic"

    assert (ROOT / "dvc.lock").read_bytes() == (published / "dvc.lock").read_bytes()
    assert (ROOT / "metrics/test.json").read_bytes() == (published / "metrics.json").read_bytes()
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "recipes/synthetic.yaml").read_bytes()
