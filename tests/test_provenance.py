"""Whether a checkpoint may know the segments that it is scored on, as the locks tell."""

from pathlib import Path

import pytest
import yaml

from retrace.runs.hashes import md5
from retrace.runs.provenance import doubt


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace whose run is `recipes/mine`'s too."""
    for folder in ("models/checkpoint", "data", "recipes/mine", "stages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models/checkpoint/weights.safetensors").write_bytes(b"1")
    (tmp_path / "data/split.csv").write_text("segment_id,subset\ns0,test\n")
    (tmp_path / "recipes/mine.yaml").write_text("epochs: 1\n")
    outs = [
        {"path": path, "md5": md5(tmp_path / path)}
        for path in ("models/checkpoint", "data/split.csv")
    ]
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "x", "outs": outs}}})
    for place in ("dvc.lock", "recipes/mine/dvc.lock"):
        (tmp_path / place).write_text(lock)
    return tmp_path


def test_the_split_of_its_run_leaves_no_doubt(root: Path) -> None:
    assert doubt(root, root / "models/checkpoint") == ""


def test_another_split_is_said_with_its_run(root: Path) -> None:
    (root / "dvc.lock").unlink()
    (root / "data/split.csv").write_text("segment_id,subset\ns0,train\n")

    assert "another split (mine)" in doubt(root, root / "models/checkpoint")


def test_changed_weights_are_unknown(root: Path) -> None:
    (root / "models/checkpoint/weights.safetensors").write_bytes(b"2")

    assert doubt(root, root / "models/checkpoint").startswith("Neither dvc.lock nor recipes/ knows")
