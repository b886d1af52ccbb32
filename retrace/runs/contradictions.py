"""Outs that cannot all be of one run, though its dvc.lock agrees with the disk.

`dvc commit` writes into dvc.lock whatever it finds: a swapped model and edited scores too.
"""

from collections.abc import Iterator
from pathlib import Path

from retrace.errors import InputError
from retrace.runs import locks, models, run
from retrace.runs.page import CHECKPOINT, ONNX
from retrace.runs.run import METRICS, Run


def contradictions(root: Path, ours: Run, theirs: Run) -> Iterator[tuple[str, str]]:
    """The stage whose out is not its own, and why; theirs: the published run."""
    here, there = locks.outs(ours.lock), locks.outs(theirs.lock)
    if (
        here.get(CHECKPOINT) != there[CHECKPOINT]
        and here.get("plots/test") == there["plots/test"]  # every probability of the test part
        and not ours.cost  # nobody trained it here
    ):
        yield "train", f"{CHECKPOINT} (not the model that was scored)"
    entries = ((ours.entry(name), value) for name, value in ours.metrics.items())
    if any(entry is not None and entry["value"] != value for entry, value in entries):
        yield "evaluate", f"{METRICS} (not the scores that the stage wrote in full)"
    if ONNX in here and here[ONNX] != there.get(ONNX):
        try:
            weights = models.card(root / ONNX)["hashes"]["weights"]
        except (InputError, KeyError, TypeError):
            weights = None
        if weights != run.weights(root):
            yield "export", f"{ONNX} (not made from models/checkpoint)"
