"""Probabilities that mean what they say: temperature, thresholds, calibration error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from retrace.errors import InputError
from retrace.scoring.scores import check, ones, ratio

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# On a validation part without a single mistake the best temperature is 0: it has to stop somewhere.
COLDEST, HOTTEST = 0.1, 10.0


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities (n, classes) of logits (n, classes) divided by a temperature above 0."""
    if not temperature > 0:
        raise InputError(f"temperature: {temperature}; it divides the logits: choose one above 0")
    return np.asarray(scipy_softmax(_logits(logits) / temperature, axis=1), dtype=np.float64)


def fit_temperature(logits: ArrayLike, y: ArrayLike) -> float:
    """The temperature, within .1 and 10, under which validation labels are most likely.

    logits: (n, classes). y: (n,) class numbers. It changes no decision, only how sure it sounds.
    The likelihood is concave in 1/temperature, so a bounded search in one dimension finds it.
    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    scores = _logits(logits)
    labels, _ = check(y, softmax(scores), scores.shape[1])
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, labels].mean())

    found = minimize_scalar(
        loss,
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def _logits(logits: ArrayLike) -> Floats:
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise InputError(
            f"logits of shape {scores.shape}, {int((~np.isfinite(scores)).sum())} of them NaN or "
            "infinite; finite (n, classes) is needed: look for a diverged training"
        )
    return scores


def fit_thresholds(probabilities: ArrayLike, y: ArrayLike, n_classes: int) -> Floats:
    """For each class, the threshold (n_classes,) of `p >= threshold` with the best validation F1.

    probabilities: (n, n_classes). y: (n,). Each class is judged on its own, against the rest. A
    threshold stands half-way between two neighbouring probabilities; of equally good ones the
    highest is taken (fewest alarms). A class without an example in validation has no best
    threshold and gets .5.
    """
    labels, p = check(y, probabilities, n_classes)
    return np.array([_threshold(p[:, c], labels == c) for c in range(n_classes)])


def _threshold(p: Floats, positive: NDArray[np.bool_]) -> float:
    if not positive.any():
        return 0.5
    order = np.argsort(-p, kind="stable")
    ranked, hits = p[order], np.cumsum(positive[order])
    alarms = np.arange(1, len(ranked) + 1)
    f1 = 2 * hits / (alarms + positive.sum())
    # Equal probabilities fall on one side together: only the last of them can be a cut.
    cuts = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    best = cuts[np.argmax(f1[cuts])]
    if best == len(ranked) - 1:
        return float(ranked[best])
    half = (ranked[best] + ranked[best + 1]) / 2
    # Between two neighbouring floats there is no half: rounding must not let the lower one in.
    return float(half if half > ranked[best + 1] else ranked[best])


@dataclass(frozen=True)
class Bin:
    """Records of similar confidence: (low, high], how many, and what they claim and achieve."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def _claims(probabilities: ArrayLike, y: ArrayLike, bins: int) -> tuple[Floats, Floats, Integers]:
    """Confidence in the top class, whether it is right (0 or 1), and the bin, each (n,)."""
    p = np.asarray(probabilities, dtype=np.float64)
    labels, p = check(y, p, p.shape[-1])
    if bins < 1:
        raise InputError(f"bins: {bins}; at least 1 is needed, 15 are usual")
    confidence = p.max(axis=1)
    right = (p.argmax(axis=1) == labels).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return confidence, right, place


def ece(probabilities: ArrayLike, y: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error, 0 (means what it says) to 1.

    Mean gap between confidence in the top class and its accuracy, over `bins` equal bins of
    confidence, weighted by the records in each. probabilities: (n, classes). y: (n,).
    Source: Guo et al., ICML 2017; Naeini et al., AAAI 2015.
    """
    return float(ece_of_resamples(probabilities, y, ones(len(np.asarray(y))), bins)[0])


def ece_of_resamples(
    probabilities: ArrayLike, y: ArrayLike, weights: Floats, bins: int = 15
) -> Floats:
    """The calibration error (k,) under weights (k, n), see `scores`."""
    confidence, right, place = _claims(probabilities, y, bins)
    gaps = np.zeros((len(right), bins))
    gaps[np.arange(len(right)), place] = right - confidence
    return ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def reliability(probabilities: ArrayLike, y: ArrayLike, bins: int = 15) -> list[Bin]:
    """The table behind `ece` and the reliability diagram; bins without a record are left out."""
    confidence, right, place = _claims(probabilities, y, bins)
    table = []
    for number in np.unique(place):
        mine = place == number
        table.append(
            Bin(
                low=float(number / bins),
                high=float((number + 1) / bins),
                count=int(mine.sum()),
                confidence=float(confidence[mine].mean()),
                accuracy=float(right[mine].mean()),
            )
        )
    return table
