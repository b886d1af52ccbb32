"""A random row of the test part, with its true label, for whoever wants to see a model at work."""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.inputs import Ready
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.service.parts import SPLIT, WAVEFORMS, array_of, check_run, reason, stamp
from retrace.service.pool import Model, Models
from retrace.service.problems import Problem


@dataclass(frozen=True)
class Row:
    """A segment of the test part. truth: its class. record: the recording it was cut from."""

    ready: Ready
    truth: str
    record: str


@dataclass(frozen=True)
class _Part:
    """The test part: row numbers in X.npy, labels, recordings, and features (n, k)."""

    rows: list[int]
    labels: list[str]
    records: list[str]
    features: NDArray[np.float32]
    total: int


def tested(root: Path, models: Models) -> Model:
    """The first model that can answer and whose test part is here; the default where there is none,
    since `draw` says of it what is missing."""
    for model in models:
        if model.card is None or model.predictor is None or model.name in models.suspended:
            continue
        with suppress(OSError, ValueError, KeyError, InputError):
            check_run(root, model.card)
            return models.get(model.name)
    return models.get(None)


def draw(root: Path, model: Model, seed: int | None) -> Row:
    """A row of the test part that `model` was tested on; for the same seed the same one.

    Raises Problem 409 where the data of the model's run are not in `root`: a row that it was
    trained on would flatter it.
    """
    assert model.card is not None
    card = model.card
    array = array_of(root, card)
    try:
        check_run(root, card)
        stamps = tuple(stamp(root / path) for path in (SPLIT, WAVEFORMS / "segments.csv"))
        part = _part(root, card.features, stamps)
        X = np.load(array, mmap_mode="r", allow_pickle=False)
        if len(X) != part.total or not part.rows:
            raise InputError(f"{array.parent}: not the segments of data/split.csv")
    except (OSError, ValueError, KeyError, InputError) as error:
        raise Problem(
            409,
            f"model {model.name}: the data that it was tested on are not here "
            f"({reason(root, error)}): run retrace recipe {model.name}, then dvc pull, in the "
            "repository that is served",
        ) from None
    place = int(np.random.default_rng(seed).integers(len(part.rows)))
    row = part.rows[place]
    features = part.features[place : place + 1] if card.features else None
    name = f"row {row} of {array.parent.name}/X.npy"
    ready = Ready(name, array, np.array(X[row : row + 1], np.float32), features)
    return Row(ready, part.labels[place], part.records[place])


@lru_cache(maxsize=2)
def _part(root: Path, features: tuple[str, ...], stamps: tuple[Any, ...]) -> _Part:
    """Read once for as long as the tables are what they were."""
    split = read_csv(root / SPLIT, ("segment_id", "label", "subset"))
    segments = read_csv(root / WAVEFORMS / "segments.csv", ("segment_id", "record_id", *features))
    if [row["segment_id"] for row in split] != [row["segment_id"] for row in segments]:
        raise InputError("data/split.csv and segments.csv are of different runs")
    rows = [number for number, row in enumerate(split) if row["subset"] == "test"]
    values = [[float(segments[row][name]) for name in features] for row in rows]
    return _Part(
        rows,
        [split[row]["label"] for row in rows],
        [segments[row]["record_id"] for row in rows],
        np.array(values, np.float32).reshape(len(rows), len(features)),
        len(split),
    )
