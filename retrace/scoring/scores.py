"""Scores of a classifier, from windows to records to single numbers.

Every score takes weights of shape (k, n): how often each of n records counts, in each of k
resamples. Ones give the score itself, a bootstrap's counts give k replicates in one pass.

A class without a single example is left out of every macro average: its sensitivity does not
exist, and calling it 0 or 1 would be a choice, not a measurement. `evaluation` names such classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Unit = Literal["record", "beat"]  # what an answer is for

JOINS = ("mean", "max", "median")
RULES = (*JOINS, "none")  # none: a segment stands for itself
CHALLENGE_CLASSES = ("NSR", "AF", "Other")
# Of beats: the class that is no arrhythmia, its share of `sensitivity_minority`, and the means of
# F1 that are published, since F is rare and Q is what nobody can name.
NORMAL, NORMAL_SHARE = "N", 0.3
F1_OF_BEATS = {"f1_macro_nsv": ("N", "S", "V"), "f1_macro_nsvf": ("N", "S", "V", "F")}


def aggregate(
    record_ids: Sequence[str], probabilities: ArrayLike, rule: str
) -> tuple[list[str], Floats]:
    """Join the windows of each record into one answer.

    record_ids: n names, one a window. probabilities: (n, classes). rule: one of `JOINS`, applied
    class by class; the result is scaled to sum to one again. Where every class has median 0
    (three windows, three certain and different answers) the mean decides.
    Returns the records in the order of their first window, and (records, classes).
    """
    if rule not in JOINS:
        raise InputError(f"aggregation: expected {', '.join(JOINS)}; got {rule!r}")
    windows = _finite("probabilities", probabilities)
    if windows.ndim != 2 or len(windows) != len(record_ids):
        raise InputError(
            f"probabilities of shape {windows.shape} for {len(record_ids)} windows; "
            "one row a window is needed: (windows, classes)"
        )
    rows: dict[str, list[int]] = {}
    for row, record_id in enumerate(record_ids):
        rows.setdefault(record_id, []).append(row)
    joined = np.empty((len(rows), windows.shape[1]))
    for place, mine in enumerate(rows.values()):
        answer = _join(windows[mine], rule)
        joined[place] = answer if answer.sum() > 0 else _join(windows[mine], "mean")
    return list(rows), joined / joined.sum(axis=1, keepdims=True)


def _join(windows: Floats, rule: str) -> Floats:
    if rule == "median":
        return np.asarray(np.median(windows, axis=0))
    return np.asarray(windows.max(axis=0) if rule == "max" else windows.mean(axis=0))


def check(y: ArrayLike, probabilities: ArrayLike, n_classes: int) -> tuple[Integers, Floats]:
    """Refuse what cannot be scored; return labels (n,) and probabilities (n, n_classes)."""
    p = _finite("probabilities", probabilities)
    labels = np.asarray(y)
    if labels.ndim != 1 or not len(labels) or p.shape != (len(labels), n_classes):
        raise InputError(
            f"probabilities of shape {p.shape} for labels of shape {labels.shape} and {n_classes} "
            "classes; (n, classes) and (n,) with at least one record are needed"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels of type {labels.dtype}; class numbers (integers) are needed")
    if labels.min() < 0 or labels.max() >= n_classes:
        wrong = labels[(labels < 0) | (labels >= n_classes)][0]
        raise InputError(f"label {wrong}: outside 0..{n_classes - 1}; check the order of classes")
    # Room for a row that was stored with three digits; a logit or a percentage is far outside it.
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-2:
        raise InputError(
            f"probabilities between {p.min():.3g} and {p.max():.3g} whose rows do not sum to 1: "
            "pass them through softmax first"
        )
    return labels.astype(np.int64), p


def _finite(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if bad := int(array.size - np.isfinite(array).sum()):
        raise InputError(
            f"{name}: {bad} of {array.size} values are NaN or infinite; scores need finite ones: "
            "look for a diverged training or a flat signal"
        )
    return array


def ones(n: int) -> Floats:
    """The weights (1, n) of the sample itself: every record counts once."""
    return np.ones((1, n))


def confusion(actual: Integers, predicted: Integers, n_classes: int, weights: Floats) -> Floats:
    """Confusion matrices (k, n_classes, n_classes): rows are actual, columns predicted classes.

    actual, predicted: (n,) class numbers. weights: (k, n).
    """
    cells = np.zeros((len(actual), n_classes * n_classes))
    cells[np.arange(len(actual)), actual * n_classes + predicted] = 1
    return (weights @ cells).reshape(-1, n_classes, n_classes)


@dataclass(frozen=True)
class Rates:
    """What a confusion matrix says of each class: (k, classes), NaN where it says nothing."""

    sensitivity: Floats  # of the class's examples, how many were found
    ppv: Floats  # of the class's alarms, how many were right (NaN: never predicted)
    f1: Floats  # 2 tp / (examples + alarms)


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, NaN where the whole is zero."""
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def rates(confusions: Floats) -> Rates:
    """Sensitivity, PPV and F1 of each class from confusion matrices (k, classes, classes)."""
    found = np.diagonal(confusions, axis1=-2, axis2=-1)
    examples, alarms = confusions.sum(axis=-1), confusions.sum(axis=-2)
    f1 = ratio(2 * found, examples + alarms)
    return Rates(ratio(found, examples), ratio(found, alarms), np.where(examples > 0, f1, np.nan))


def accuracy(confusions: Floats) -> Floats:
    """The share of right answers (k,) from confusion matrices (k, classes, classes)."""
    return ratio(np.trace(confusions, axis1=-2, axis2=-1), confusions.sum(axis=(-2, -1)))


def macro(values: Floats, here: NDArray[np.bool_]) -> Floats:
    """Mean of values (k, classes) over the classes that are `here` (classes,).

    Which classes are here is a property of the whole test part. A resample that lost one of them
    gives NaN, and `intervals.bootstrap` leaves it out: an average over fewer classes is another
    score, usually a higher one.
    """
    return np.asarray(values[..., here].mean(axis=-1))


def auroc(positive: NDArray[np.bool_], values: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve (k,): the chance that a positive outranks a negative, ties half.

    positive, values: (n,). weights: (k, n). NaN where a resample has only one kind.
    Source: Hanley and McNeil, Radiology 143 (1982) 29-36 (the Mann-Whitney form).
    """
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ordered = weights[:, order]
    ups = ordered * positive[order]
    downs = ordered - ups
    if len(starts) < len(ranked):
        ups, downs = np.add.reduceat(ups, starts, axis=1), np.add.reduceat(downs, starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs / 2
    return ratio((below * ups).sum(axis=1), ups.sum(axis=1) * downs.sum(axis=1))


def aurocs(y: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """One-versus-rest AUROC of each class, (k, classes)."""
    columns = [auroc(y == c, p, weights) for c, p in enumerate(probabilities.T)]
    return np.stack(columns, axis=-1)


def log_likelihood(y: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean log probability of the actual class (k,), at most 0."""
    # A float32 softmax can underflow to 0: one such record must not make the score infinite.
    own = np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1))
    return ratio(weights @ own, weights.sum(axis=1))


def columns_of(wanted: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """Where the classes in `wanted` stand in `classes`; None if one of them is missing."""
    if not set(wanted) <= set(classes):
        return None
    return [list(classes).index(name) for name in wanted]


def challenge_columns(classes: Sequence[str]) -> list[int] | None:
    """Where NSR, AF and Other stand in `classes`; None if one of them is missing."""
    return columns_of(CHALLENGE_CLASSES, classes)


def challenge_f1(f1: Floats, here: NDArray[np.bool_], columns: list[int]) -> Floats:
    """Mean F1 of NSR, AF and Other (k,), from f1 (k, classes); Noise has no term of its own.

    Source: Clifford et al., AF classification from a short single lead ECG recording,
    Computing in Cardiology 44 (2017).
    """
    return macro(f1[..., columns], here[columns])


def sensitivity_minority(
    sensitivity: Floats, here: NDArray[np.bool_], classes: Sequence[str]
) -> Floats:
    """.3 of N's sensitivity and .7 of the mean of the others' (k,), from sensitivity (k, classes).

    For beats, nine in ten of which are N: it rewards finding the rare ones, but lets no model call
    everything rare. NaN where there is no example of N, or of nothing else.
    """
    own = list(classes).index(NORMAL)
    others = here.copy()
    others[own] = False
    if not here[own] or not others.any():
        return np.full(sensitivity.shape[:-1], np.nan)
    found = NORMAL_SHARE * sensitivity[..., own] + (1 - NORMAL_SHARE) * macro(sensitivity, others)
    return np.asarray(found)


def present(y: Integers, n_classes: int) -> NDArray[np.bool_]:
    """Which classes (n_classes,) have an example among y (n,)."""
    return np.bincount(y, minlength=n_classes) > 0


def _rates(y: Integers, p: Floats) -> Rates:
    return rates(confusion(y, p.argmax(axis=1), p.shape[1], ones(len(y))))


def _f1_macro(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    return macro(_rates(y, p).f1, present(y, len(classes)))


def _accuracy(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    return accuracy(confusion(y, p.argmax(axis=1), len(classes), ones(len(y))))


def _sensitivity_macro(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    return macro(_rates(y, p).sensitivity, present(y, len(classes)))


def _sensitivity_minority(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    if NORMAL not in classes:
        raise InputError(
            f"sensitivity_minority needs the class {NORMAL}; got {', '.join(classes)}: choose "
            "sensitivity_macro"
        )
    here = present(y, len(classes))
    found = sensitivity_minority(_rates(y, p).sensitivity, here, classes)
    if np.isnan(found).any():
        raise InputError(
            f"sensitivity_minority needs examples of {NORMAL} and of another class: use more "
            "records"
        )
    return found


def _auroc_macro(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    here = present(y, len(classes))
    if here.sum() < 2:
        raise InputError(
            f"auroc_macro needs examples of two classes; all are {classes[int(y[0])]}: "
            "use more records, or choose accuracy"
        )
    return macro(aurocs(y, p, ones(len(y))), here)


def _challenge_f1(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    columns = challenge_columns(classes)
    if columns is None:
        raise InputError(
            f"challenge_f1 needs the classes NSR, AF and Other; got {', '.join(classes)}: "
            "choose f1_macro"
        )
    here = present(y, len(classes))
    if not here[columns].any():
        raise InputError("challenge_f1 needs an example of NSR, AF or Other: use more records")
    return challenge_f1(_rates(y, p).f1, here, columns)


def _log_loss(y: Integers, p: Floats, classes: Sequence[str]) -> Floats:
    return log_likelihood(y, p, ones(len(y)))


_SCORES: dict[str, Callable[[Integers, Floats, Sequence[str]], Floats]] = {
    "f1_macro": _f1_macro,
    "accuracy": _accuracy,
    "sensitivity_macro": _sensitivity_macro,
    "sensitivity_minority": _sensitivity_minority,
    "auroc_macro": _auroc_macro,
    "challenge_f1": _challenge_f1,
    "log_loss": _log_loss,
}

NAMES = tuple(_SCORES)


def score(name: str, y: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> float:
    """One number by which epochs are compared; higher is better, whatever the name.

    name: one of `NAMES`. y: (n,) class numbers. probabilities: (n, classes), rows summing to 1.
    `log_loss` is therefore returned with its sign turned: the mean log probability of the actual
    class, 0 at best. The other scores lie in 0..1. Classes without an example are left out.
    Raises InputError for an unknown name, for values that cannot be scored, and where the score
    does not exist (`challenge_f1` and `sensitivity_minority` without their classes or examples,
    `auroc_macro` with one class).
    """
    if name not in _SCORES:
        raise InputError(f"score: expected {', '.join(NAMES)}; got {name!r}")
    labels, p = check(y, probabilities, len(classes))
    return float(_SCORES[name](labels, p, classes)[0])
