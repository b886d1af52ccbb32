"""A training on two devices: two processes on the CPU, which speak over loopback (gloo)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from retrace.learning import checkpoint
from tests.sources import ROOT
from tests.train_small import load, small_segments

TWO = {
    "train.devices": 2,
    "train.accelerator": "cpu",
    "train.strategy": "ddp",
    "epochs": 2,
    "train.early_stopping.patience": 2,
}
SEGMENTS = 51  # of which 19 are validated: one process has one more than the other


def _train(folder: Path, die: list[Any] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.train_small", json.dumps({"params": TWO, "die": die})],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT)}
        | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def _outputs(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "checkpoint").rglob("*"), *(folder / "curves").rglob("*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of such a training, and what it said."""
    folder = tmp_path_factory.mktemp("unbroken")
    small_segments(folder, SEGMENTS)
    done = _train(folder)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def test_one_of_two_processes_speaks_and_writes(unbroken: tuple[Path, str]) -> None:
    folder, said = unbroken

    assert said.count("val_loss") == 1  # the head of the table
    (run,) = (folder / "runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["cost.json", "environment.json"]
    table = (folder / "curves/plots/metrics/train_loss.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in table] == ["step", "0", "1"]


def test_the_validation_score_counts_every_segment_once(unbroken: tuple[Path, str]) -> None:
    folder, _ = unbroken
    segments = load(folder)
    rows = segments.rows("val")
    model, config = checkpoint.load(folder / "checkpoint")

    logits = checkpoint.logits(model, segments.X, segments.features, rows, len(rows))

    assert len(rows) % 2 == 1
    labels = torch.from_numpy(segments.labels[rows])
    loss = float(functional.cross_entropy(torch.from_numpy(np.asarray(logits)), labels))
    assert config["validation"]["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_killed_and_resumed_equals_unbroken(tmp_path: Path, unbroken: tuple[Path, str]) -> None:
    small_segments(tmp_path, SEGMENTS)

    assert _train(tmp_path, ["ResumePoint", "on_train_epoch_end", 0]).returncode == -9
    assert list(tmp_path.rglob("last.ckpt")) and not (tmp_path / "checkpoint").exists()
    done = _train(tmp_path)

    assert done.returncode == 0, done.stdout
    assert _outputs(tmp_path) == _outputs(unbroken[0])
