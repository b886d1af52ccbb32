"""One recording as EC57 compares it: what the reference says, and what the test says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.scoring.calibration import ece
from retrace.scoring.ec57 import CLASSES, classify
from retrace.scoring.intervals import FEW
from retrace.scoring.matching import Beats, Pairs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Recording:
    """One record as the reference and as the test saw it.

    patient_id, age (years), sex ("F", "M"): None where unknown. fs: of both, in Hz. test: the
    beats that were looked at; the symbol of each is the letter of its class. probabilities:
    (test beats, model classes), None where calibration is not asked for.
    """

    record_id: str
    patient_id: str | None
    age: float | None
    sex: str | None
    fs: float
    reference: Beats
    test: Beats
    probabilities: Floats | None = None


def calibration_error(
    recordings: Sequence[Recording],
    pairs: Sequence[Pairs],
    aami: Mapping[str, str],
    classes: Sequence[str],
) -> dict[str, Any] | None:
    """The calibration error of the beats in pairs, pooled and of the worst record."""
    p: dict[str, Floats] = {}
    y: dict[str, Integers] = {}
    for one, own in zip(recordings, pairs, strict=True):
        if one.probabilities is None:
            return None
        if one.probabilities.shape != (len(one.test.samples), len(classes)):
            raise InputError(
                f"record {one.record_id}: probabilities of shape {one.probabilities.shape} for "
                f"{len(one.test.samples)} beats and {len(classes)} classes; give one row a beat"
            )
        actual = classify(one.reference.symbols, aami)[own.reference[own.both]]
        column = np.array([classes.index(c) if c in classes else -1 for c in CLASSES])[actual]
        asked = column >= 0  # a class that the model does not know has no right answer
        p[one.record_id] = one.probabilities[own.test[own.both]][asked]
        y[one.record_id] = column[asked]
    each = {name: ece(p[name], y[name]) for name in p if len(y[name]) >= FEW}
    if not each:
        return None
    worst = max(each, key=lambda name: each[name])
    pooled = ece(np.concatenate(list(p.values())), np.concatenate(list(y.values())))
    return {
        "ece": round(pooled, 6),
        "worst_record": {"record_id": worst, "ece": round(each[worst], 6)},
    }
