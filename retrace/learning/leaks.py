"""Detectors of what must not pass from the validation or test part into a training.

They know arrays and names alone, so that any split and any training can be looked at.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError

_SIDES = ("train", "val", "test")
# What `oversampling` makes says so in its name.
_MADE = re.compile(r"(oversample|smote)_\d{6,}")


def crossing(groups: Sequence[str], subsets: Sequence[str]) -> list[str]:
    """The groups (see `splits.groups`) that stand on more than one side, in sorted order.

    groups, subsets: of each segment. Only train, val and test are sides: a segment that no part
    uses leaks nothing.
    """
    sides = defaultdict(set)
    for group, subset in zip(groups, subsets, strict=True):
        if subset in _SIDES:
            sides[group].add(subset)
    return sorted(group for group, found in sides.items() if len(found) > 1)


def neighbours(record_ids: Sequence[str], starts: Sequence[float], subsets: Sequence[str]) -> int:
    """How many pairs of neighbours in time, segments of one record, stand on two sides.

    record_ids, starts (s, or any unit of time), subsets: of each segment, in any order. A
    neighbour holds the same heart in the same minute, and where windows overlap the same samples.
    """
    records = np.unique(np.asarray(record_ids), return_inverse=True)[1]
    order = np.lexsort((np.asarray(starts, np.float64), records))
    record, side = records[order], np.asarray(subsets)[order]
    used = np.isin(side, _SIDES)
    pairs = (record[1:] == record[:-1]) & (side[1:] != side[:-1]) & used[1:] & used[:-1]
    return int(pairs.sum())


def report(
    method: str,
    groups: Sequence[str],
    record_ids: Sequence[str],
    starts: Sequence[float],
    subsets: Sequence[str],
) -> str:
    """A line on what a split lets through, of which those of published work let through much.

    method: split.method. The arguments behind it are those of `crossing` and `neighbours`.
    Raises InputError where a stratified split lets anything through.
    """
    both, pairs = crossing(groups, subsets), neighbours(record_ids, starts, subsets)
    if not both:
        return "on two sides: no patient and no record"
    named = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
    found = (
        f"on two sides: {len(both)} patients or records ({named}) and {pairs} pairs of "
        "neighbouring segments"
    )
    if method == "stratified":
        raise InputError(f"split.method: stratified; {found}: a leak, please report it")
    return f"{found}; scores with split.method {method} flatter"


def copied(X: NDArray[Any], subsets: Sequence[str]) -> int:
    """How many val and test segments of X (n, ...) equal a training segment value for value.

    This is what oversampling before the split leaves behind, and a recording listed twice.
    """
    side = np.asarray(subsets)
    known = {X[row].tobytes() for row in np.flatnonzero(side == "train")}
    others = np.flatnonzero(np.isin(side, _SIDES) & (side != "train"))
    return sum(X[row].tobytes() in known for row in others)


def made_outside_training(segment_ids: Sequence[str], subsets: Sequence[str]) -> list[str]:
    """The segments that oversampling made and that are judged, though nobody recorded them."""
    return [
        name
        for name, subset in zip(segment_ids, subsets, strict=True)
        if subset != "train" and _MADE.fullmatch(name)
    ]


def looks_beyond_training(
    fit: Callable[..., Sequence[NDArray[Any]]], subsets: Sequence[str], *arrays: NDArray[Any]
) -> bool:
    """Whether what `fit(*arrays)` returns depends on rows outside the training part.

    arrays: each (n, ...), values or class numbers. They are fitted twice, the second time with
    other values and other classes in every row outside the training part.
    """
    outside = np.asarray(subsets) != "train"
    changed = []
    for array in arrays:
        other = array.copy()
        if np.issubdtype(array.dtype, np.integer):
            other[outside] = array.max()
        else:
            other[outside] = 1 - 2 * array[outside]
        changed.append(other)
    before, after = fit(*arrays), fit(*changed)
    return not all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
