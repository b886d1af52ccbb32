"""Dividing patients, not segments, into train, val and test."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from retrace.errors import InputError

SUBSETS = ("train", "val", "test")


def groups(records: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The group of each record: what must stand on one side of a split, by record_id.

    records: rows with record_id, patient_id (may be empty) and same_as (the record of which this
    one is an exact copy, or empty). Records of one patient and copies belong together, and so do
    patients who share a copy. A group is named after its first patient, or record.
    """
    # A patient and a record may have the same name.
    names = [
        f"patient {row['patient_id']}" if row["patient_id"] else f"record {row['record_id']}"
        for row in records
    ]
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    of_record = {row["record_id"]: number[name] for row, name in zip(records, names, strict=True)}
    pairs = [
        (number[n], of_record[r["same_as"]])
        for n, r in zip(names, records, strict=True)
        if r["same_as"]
    ]
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    size = (len(number), len(number))
    _, component = connected_components(coo_array((np.ones(len(left)), (left, right)), size))
    first: dict[int, str] = {}
    for name, index in number.items():
        first.setdefault(int(component[index]), name)
    return {record: first[int(component[index])] for record, index in of_record.items()}


def stratified(
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    folds: int,
    fold: int,
    val: float,
    seed: int,
) -> list[str]:
    """Assign whole groups to subsets so that each class keeps its share in each subset.

    labels, groups: the class and the group (see `groups`) of each segment. All are dealt into
    `folds` parts, of which number `fold`, from 0, is the test part; the others are dealt again
    into val, a share `val` of all, and train. Returns "train", "val" or "test" for each segment.

    Groups are dealt largest first, each to the part in which it lowers the squared relative
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
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part = _deal(counts, np.full(folds, 1 / folds), order)
    rest = order[part[order] != fold]
    share = val / (1 - 1 / folds)
    subset = np.full(len(names), SUBSETS.index("test"))
    subset[rest] = _deal(counts, np.array([1 - share, share]), rest)[rest]
    _check_classes(counts, subset, classes, part)
    return [SUBSETS[number] for number in subset[group_index]]


def _deal(
    counts: NDArray[np.float64], shares: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The part, 0 ... len(shares) - 1, of each group in `order`; -1 for the others."""
    wanted = shares[:, None] * counts[order].sum(axis=0)
    part = np.full(len(counts), -1)
    held = np.zeros_like(wanted)
    everything = counts.sum()

    def distance(candidate: NDArray[np.float64]) -> NDArray[np.float64]:
        # A part without a class is worse than any shares, hence the second term.
        away = ((candidate - wanted) ** 2 / np.maximum(wanted, 1e-9)).sum(axis=-1)
        return np.asarray(away + everything * (candidate == 0).sum(axis=-1))

    # The first pass deals, the others move: a group is taken out and put where it fits best.
    for _ in range(20):
        moved = False
        for group in order:
            if part[group] >= 0:
                held[part[group]] -= counts[group]
            gain = distance(held + counts[group]) - distance(held)
            best = int(np.argmin(gain))
            # Only a real gain moves a group, so that rounding cannot make two take turns.
            if part[group] >= 0 and gain[best] > gain[part[group]] - 1e-9:
                best = int(part[group])
            moved |= best != part[group]
            part[group] = best
            held[best] += counts[group]
        if not moved:
            break
    return part


def _check_classes(
    counts: NDArray[np.float64],
    subset: NDArray[np.int64],
    classes: NDArray[np.str_],
    part: NDArray[np.int64],
) -> None:
    for number, name in enumerate(SUBSETS):
        held = counts[subset == number].sum(axis=0)
        if (held == 0).any():
            lacking = int(np.argmin(held))
            fold_of_holder = part[counts[:, lacking] > 0]
            # The test fold takes one holder or more; train and val need one each of the others.
            fits = [
                str(fold)
                for fold in np.unique(fold_of_holder).tolist()
                if (fold_of_holder != fold).sum() >= len(SUBSETS) - 1
            ]
            remedy = f"split.fold to one of {', '.join(fits)}, " if name == "test" and fits else ""
            raise InputError(
                f"split: no segment of class {classes[lacking]} is left for {name}; every class "
                f"must stand in every subset: set {remedy}another split.seed, fewer split.folds "
                "or a larger split.val in params.yaml"
            )


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
