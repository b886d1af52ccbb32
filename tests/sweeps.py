"""A repository in which a sweep takes seconds: beats of three patients, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retrace.learning.sweep.plan import Options, Plan, claim, plan
from retrace.learning.sweep.search import Search
from tests.train_small import small_beats, small_params

BEATS: dict[str, Any] = {
    "model.name": "simple_cnn",
    "model.input": "waveforms",
    "model.aggregate": "none",
    "segment.anchor": "beat",
    "batch_size": 16,
    "train.warmup": 0,
    "train.early_stopping.patience": 1000,
}
# Depth, width, and a rate of which some are hopeless.
SPACE: dict[str, Any] = {
    "models.simple_cnn.channels": {"list": [{"choice": [4, 8]}, {"choice": [8, 16]}], "least": 1},
    "models.simple_cnn.hidden": {"quniform": [8, 32, 8]},
    "lr": {"loguniform": [1e-6, 3e-2]},
}


def repository(folder: Path, *, garbage: bool = False) -> Path:
    """params.yaml and data/ with beats; garbage: in their test part."""
    small_params(folder, BEATS)
    small_beats(folder)
    waveforms = folder / "data/waveforms"
    waveforms.mkdir(parents=True)
    for name, place in (
        ("X.npy", waveforms),
        ("segments.csv", waveforms),
        ("split.csv", folder / "data"),
    ):
        (folder / name).rename(place / name)
    if garbage:
        X = np.load(waveforms / "X.npy")
        rows = (folder / "data/split.csv").read_text().splitlines()[1:]
        X[[row.endswith(",test") for row in rows]] = np.float32(1e4)
        np.save(waveforms / "X.npy", X)
    return folder


def planned(root: Path, space: dict[str, Any], **changes: Any) -> Plan:
    """A plan of small trials; its space is written beside params.yaml."""
    name = changes.get("name", "small")
    (root / f"{name}.yaml").write_text(yaml.safe_dump(space))
    options: dict[str, Any] = {
        "samples": 6,
        "max_epochs": 6,
        "searcher": "optuna",
        "grace": 1,
        "reduction": 3,
        "cpus": 1,
        "gpus": 0,
    }
    return plan(root, str(root / f"{name}.yaml"), Options(**options | changes))


def begun(found: Plan, *, resume: bool = False) -> Search:
    """A sweep whose folder stands; no trial has begun."""
    claim(found, resume=resume)
    return Search(found)


def run(search: Search, concurrent: int = 2, address: str | None = None) -> list[int]:
    """Let it end; returns how many trials ran at once, each time that something changed."""
    running: list[int] = []

    def show(sweep: Any) -> None:
        running.append(sum(trial.state == "running" for trial in sweep.trials))

    search.run(concurrent, address, None, show, print)
    return running
