"""Train a small network in the current folder, and die where the test wants it.

python -m tests.train_small SETTINGS.json: `params` to change (dotted keys) and `die`, a list of
[hook of History or ResumePoint, epoch]: SIGKILL is sent right after that hook has run.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retrace import params
from retrace.files import write_csv
from retrace.learning import tracking
from retrace.learning.data import Segments, load_segments
from retrace.learning.outcome import Folders
from retrace.learning.training import run_key, train
from retrace.signals.domain import SignalDomain
from tests.sources import ROOT

CLASSES = ("NSR", "AF", "Other", "Noise")
# Options of the smallest EfficientNet on the smallest image.
NANO: dict[str, Any] = {
    "variant": "nano",
    "pretrained": False,
    "weights_sha256": None,
    "image_size": 32,
    "square": True,
    "dropout": 0.2,
}


def small_params(folder: Path, changes: dict[str, Any]) -> params.Params:
    """The committed params, cut down to seconds, with `changes` at dotted keys."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {
        "epochs": 4,
        "batch_size": 8,
        "threads": 1,
        "train.warmup": 1,
        "models.efficientnet.image_size": 32,
        "train.early_stopping.patience": 4,
    }
    for dotted, value in (small | changes).items():
        *parents, key = dotted.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return params.load(folder / "params.yaml")


def small_segments(folder: Path, n: int = 48) -> None:
    """n scalograms in which a bright row, another for each class, tells the class."""
    generator = np.random.default_rng(0)
    X = generator.uniform(0, 0.1, (n, 1, 8, 16)).astype(np.float16)
    labels = np.arange(n) // 2 % len(CLASSES)  # two of a record are of one class
    X[np.arange(n), 0, labels * 2] += np.float16(0.5)
    np.save(folder / "X.npy", X)
    names = [CLASSES[label] for label in labels]
    rows = [(f"s{i}", f"r{i // 2}", f"p{i // 2}", 0.0, names[i]) for i in range(n)]
    columns = ("segment_id", "record_id", "patient_id", "start", "label")
    write_csv(folder / "segments.csv", columns, rows)
    subsets = ["val" if i % 12 < 4 else "train" for i in range(n)]
    split = [(f"s{i}", names[i], subsets[i]) for i in range(n)]
    write_csv(folder / "split.csv", ("segment_id", "label", "subset"), split)


def small_beats(folder: Path, n: int = 240) -> None:
    """n beats of 24 samples whose peak, another for each class, and rhythm tell the class.

    More than half are NSR. Every sixth ends in zeros; eight at a time are one patient's.
    """
    generator = np.random.default_rng(0)
    X = generator.normal(0, 0.1, (n, 1, 24)).astype(np.float32)
    labels = np.where(np.arange(n) % 2, 0, np.arange(n) // 2 % len(CLASSES))
    X[np.arange(n), 0, 3 + labels * 4] += np.float32(0.5)
    X[::6, :, 20:] = 0
    np.save(folder / "X.npy", X)
    names = [CLASSES[label] for label in labels]
    rhythm = 0.8 - 0.1 * labels + generator.normal(0, 0.1, n)
    rows = [(f"s{i}", f"r{i // 8}", f"p{i // 8}", float(i), names[i], rhythm[i]) for i in range(n)]
    columns = ("segment_id", "record_id", "patient_id", "start", "label", "rr_ratio")
    write_csv(folder / "segments.csv", columns, rows)
    subsets = [("val", "train", "test", "train", "train")[i // 8 % 5] for i in range(n)]
    split = [(f"s{i}", names[i], subsets[i]) for i in range(n)]
    write_csv(folder / "split.csv", ("segment_id", "label", "subset"), split)


def load(folder: Path, features: Sequence[str] = ()) -> Segments:
    """The segments that one of the two wrote."""
    array, table, split = (folder / name for name in ("X.npy", "segments.csv", "split.csv"))
    return load_segments(array, table, split, list(CLASSES), list(features))


def run(folder: Path, changes: dict[str, Any]) -> None:
    """Train on the segments of `folder` and leave checkpoint/ and curves/ in it."""
    settings = small_params(folder, changes)
    files = [folder / name for name in ("X.npy", "segments.csv", "split.csv")]
    domain = SignalDomain(128, ("II",), 0.5, 50, 3, 10, "start", "none")
    train(
        settings,
        load(folder, settings.model.features),
        domain,
        Folders(folder / "checkpoint", folder / "curves", folder / "plots", folder / "runs"),
        run_key(settings, files),
    )


def die_after(owner: str, hook: str, epoch: int) -> None:
    """Let the process be killed right after a callback's hook in this epoch."""
    kind = getattr(tracking, owner)
    original = getattr(kind, hook)

    def deadly(self: Any, trainer: Any, *args: Any, **kwargs: Any) -> None:
        original(self, trainer, *args, **kwargs)
        if trainer.current_epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, hook, deadly)


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    if plan.get("die"):
        die_after(*plan["die"])
    run(Path.cwd(), plan["params"])
