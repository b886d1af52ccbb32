"""A training that was killed goes on where it was, and ends with the bytes it would have had."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sources import ROOT
from tests.train_small import small_segments

COSINE = {"train.schedule": "cosine"}
PLATEAU = {
    "train.schedule": "plateau",
    "train.plateau_patience": 1,
    "train.imbalance": "sampler",
    "train.optimiser": "sgd",
}


def _train(folder: Path, changes: dict[str, Any], die: list[Any] | None = None) -> int:
    plan = json.dumps({"params": changes, "die": die})
    command = [sys.executable, "-m", "tests.train_small", plan]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def _outputs(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "checkpoint").rglob("*"), *(folder / "curves").rglob("*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


@pytest.mark.parametrize(
    ("changes", "deaths"),
    [
        # Between two epochs; then in the middle of one; then before the very last resume point.
        (COSINE, [["ResumePoint", "on_train_epoch_end", 0], ["History", "on_train_epoch_end", 3]]),
        # Best weights written, but no resume point that names them; then at the very end.
        (PLATEAU, [["History", "on_train_epoch_end", 1], ["ResumePoint", "on_train_epoch_end", 3]]),
    ],
    ids=["cosine", "plateau"],
)
def test_killed_and_resumed_equals_unbroken(
    tmp_path: Path, changes: dict[str, Any], deaths: list[list[Any]]
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
        small_segments(folder)

    assert _train(unbroken, changes) == 0
    for die in deaths:
        assert _train(broken, changes, die) == -9
        assert not (broken / "checkpoint").exists()
    (point,) = broken.rglob("last.ckpt")
    before = torch.load(point, weights_only=True)["callbacks"]["History"]["seconds"]
    assert _train(broken, changes) == 0

    assert _outputs(broken) == _outputs(unbroken)
    assert not list(broken.rglob("resume"))
    (cost,) = broken.rglob("cost.json")
    assert json.loads(cost.read_text())["training_seconds"] >= round(before, 1) > 0
