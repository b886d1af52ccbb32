"""Dividing patients, not segments, into train, val and test."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError

SUBSETS = ("train", "val", "test")


def stratified(
    labels: Sequence[str], groups: Sequence[str], *, val: float, test: float, seed: int
) -> list[str]:
    """Assign whole groups to subsets so that each class keeps its share in each subset.

    labels, groups: the class and the patient (or record, where patients are unknown) of each
    segment. Returns "train", "val" or "test" for each segment.

    Groups are dealt largest first, each to the subset in which it lowers the squared relative
    distance to the wanted class counts the most, then single groups are moved for as long as
    that lowers it further. With one segment a group this is exact stratification; with few
    large patients it comes as near as whole patients allow.

    Raises InputError when a class cannot stand in all three subsets.
    """
    classes, label_index = np.unique(np.asarray(labels), return_inverse=True)
    names, group_index = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_index, label_index), 1)
    for label, holders in zip(classes, (counts > 0).sum(axis=0), strict=True):
        if holders < len(SUBSETS):
            raise InputError(
                f"class {label}: {holders} patients or records have it; a split needs one for "
                "each of train, val and test: add recordings or map the class to another in "
                "params.yaml"
            )
    wanted = np.array([1 - val - test, val, test])[:, None] * counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    subset_of_group = _deal(counts, wanted, order)
    return [SUBSETS[subset] for subset in subset_of_group[group_index]]


def _deal(
    counts: NDArray[np.float64], wanted: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The subset (0, 1 or 2) of each group."""
    subset = np.full(len(counts), -1)
    held = np.zeros_like(wanted)

    def distance(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        # A subset without a class is worse than any shares, hence the second term.
        shares = ((candidate - wanted) ** 2 / wanted).sum(axis=-1)
        return np.asarray(shares + counts.sum() * (candidate == 0).sum(axis=-1))

    # The first pass deals, the others move: a group is taken out and put where it fits best.
    for _ in range(20):
        moved = False
        for group in order:
            if subset[group] >= 0:
                held[subset[group]] -= counts[group]
            gain = distance(held + counts[group]) - distance(held)
            best = int(np.argmin(gain))
            # Only a real gain moves a group, so that rounding cannot make two take turns.
            if subset[group] >= 0 and gain[best] > gain[subset[group]] - 1e-9:
                best = int(subset[group])
            moved |= best != subset[group]
            subset[group] = best
            held[best] += counts[group]
        if not moved:
            break
    missing = np.argwhere(held == 0)
    if len(missing):
        raise InputError(
            f"split: no segment of one class is left for {SUBSETS[int(missing[0][0])]}; every "
            "class must stand in every subset: enlarge split.val and split.test in params.yaml"
        )
    return subset


def summary(labels: Sequence[str], groups: Sequence[str], subsets: Sequence[str]) -> str:
    """A line for each subset: its groups, its segments and the share of each class."""
    lines = []
    for subset in SUBSETS:
        inside = [index for index, name in enumerate(subsets) if name == subset]
        shares = Counter(labels[index] for index in inside)
        classes = ", ".join(
            f"{name} {shares[name]} ({shares[name] / len(inside):.1%})"
            for name in dict.fromkeys(labels)
        )
        owners = len({groups[index] for index in inside})
        lines.append(
            f"{subset:>5}: {owners} patients or records, {len(inside)} segments: {classes}"
        )
    return "\n".join(lines)
