"""Dividing patients, not segments, into train, val and test; and the splits of published work."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from retrace.errors import InputError

SUBSETS = ("train", "val", "test")
UNUSED = "unused"
ADDED, KEPT = "added", "kept"  # the parts of data set collected, see there
_FEW = 1000  # patients; with more any choice keeps the shares
_DRAWS = 2000  # of patients that may be left out for validation, of which the best is taken

# The records of MIT-BIH that P. de Chazal, M. O'Dwyer and R. B. Reilly (IEEE Trans. Biomed. Eng. 51
# (2004) 1196-1206) train on and test on. The four with paced beats are in neither; 201 and 202, one
# patient, stand on either side.
DS1, DS2, PACED = (
    tuple(names.split())
    for names in (
        "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230",
        "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234",
        "102 104 107 217",
    )
)


def divide(
    method: str,
    labels: Sequence[str],
    record_ids: Sequence[str],
    records: Sequence[Mapping[str, str]],
    *,
    folds: int,
    fold: int,
    val: float,
    seed: int,
) -> list[str]:
    """The subset of each segment: "train", "val", "test" or "unused"; see `_with_added` for "kept".

    labels, record_ids: of each segment. records: rows of records.csv. method: "stratified" keeps
    groups (see `groups`) on one side. "published" takes the publisher's test part and "ds1_ds2" de
    Chazal's; both deal groups of the rest into val and train. "intra_patient" deals segments, so
    that nearly every patient stands on all sides: it flatters, and is declared wherever it is used.

    Raises InputError where the data set has no such parts, or a subset would lack a class.
    """
    if method == "ds1_ds2" and any(row.get("part") == ADDED for row in records):
        options = {"folds": folds, "fold": fold, "val": val, "seed": seed}
        return _with_added(labels, record_ids, records, options)
    if method == "intra_patient":
        return _shuffled(labels, folds=folds, fold=fold, val=val, seed=seed)
    group_of = groups(records)
    sides = [group_of[record] for record in record_ids]
    if method == "stratified":
        return stratified(labels, sides, folds=folds, fold=fold, val=val, seed=seed)
    part_of = _ds1_ds2(records) if method == "ds1_ds2" else _published(records)
    subsets = np.array([part_of[record] for record in record_ids])
    rest = np.flatnonzero(subsets == "train")
    used = np.isin(subsets, ("train", "test")).sum()
    theirs, owners = ([column[i] for i in rest.tolist()] for column in (labels, sides))
    subsets[rest] = _leave_out(theirs, owners, val * used, seed)
    for subset in ("train", "val"):
        held = {label for label, own in zip(labels, subsets, strict=True) if own == subset}
        if lacking := set(theirs) - held:
            raise InputError(
                f"split: no segment of class {min(lacking)} is left for {subset}; every class must "
                "stand in it: set another split.val or split.seed in params.yaml, or map the class "
                "to another"
            )
    return [str(subset) for subset in subsets]


def _ds1_ds2(records: Sequence[Mapping[str, str]]) -> dict[str, str]:
    known = dict.fromkeys(DS1, "train") | dict.fromkeys(DS2, "test") | dict.fromkeys(PACED, UNUSED)
    if other := [row["record_id"] for row in records if row["record_id"] not in known]:
        raise InputError(
            f"split.method: ds1_ds2; record {other[0]} is none of MIT-BIH's, for which alone it is "
            "defined: set it to stratified in params.yaml"
        )
    return known


def _with_added(
    labels: Sequence[str],
    record_ids: Sequence[str],
    records: Sequence[Mapping[str, str]],
    options: dict[str, Any],
) -> list[str]:
    """MIT-BIH divided as if nothing had been added; what was added is trained on.

    But not where its patient is one of MIT-BIH's outside of the part that is trained on: he would
    be known where the model is judged. Where MIT-BIH's records are "kept", so is that part.
    """
    part_of = {row["record_id"]: row["part"] for row in records}
    theirs = [n for n, record in enumerate(record_ids) if part_of[record] != ADDED]
    divided = divide(
        "ds1_ds2",
        [labels[n] for n in theirs],
        [record_ids[n] for n in theirs],
        [row for row in records if row["part"] != ADDED],
        **options,
    )
    side = {record_ids[n]: subset for n, subset in zip(theirs, divided, strict=True)}
    group_of = groups(records)
    known = {group_of[record] for record, subset in side.items() if subset != "train"}
    for record, part in part_of.items():
        if part == ADDED:
            side[record] = UNUSED if group_of[record] in known else "train"
        elif part == KEPT and side.get(record) == "train":
            side[record] = KEPT
    subsets = [side[record] for record in record_ids]
    if not any(side[record] == "train" and part_of[record] == ADDED for record in record_ids):
        raise InputError(
            "split: no beat that was added can be trained on; recordings of MIT-BIH's patients by "
            "whom models are validated or tested stay unused: add recordings of others"
        )
    held = {
        part: {label for label, subset in zip(labels, subsets, strict=True) if subset == part}
        for part in ("train", "val")
    }
    if lacking := held["val"] - held["train"]:
        raise InputError(
            f"split: no segment of class {min(lacking)} is left for train; every class must stand "
            "in it: add recordings, or train on DS1, too (datasets.collected.with_ds1)"
        )
    return subsets


def _published(records: Sequence[Mapping[str, str]]) -> dict[str, str]:
    parts = {row["record_id"]: row.get("part", "") for row in records}
    if not {"train", "test"} <= set(parts.values()):
        raise InputError(
            "split.method: published; the publisher of this data set names no test part: set it "
            "to stratified in params.yaml"
        )
    return parts


def _leave_out(
    labels: Sequence[str], sides: Sequence[str], wanted: float, seed: int
) -> NDArray[np.str_]:
    """Train or val for each segment of a training part; `wanted` segments go to val, by groups."""
    share = wanted / max(len(labels), 1)
    if not share < 1:
        raise InputError(
            f"split.val: {wanted:.0f} segments; the training part has {len(labels)} in all: lower "
            "it in params.yaml"
        )
    names, group = np.unique(np.asarray(sides), return_inverse=True)
    if len(names) == len(labels):  # nothing binds segments together: deal them one by one
        return np.array(_shuffled(labels, folds=1, fold=-1, val=share, seed=seed))
    classes, label = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group, label), 1)
    everything = counts.sum(axis=0)
    generator = np.random.default_rng(seed)
    best, nearest = np.zeros(len(names), bool), np.inf
    # A few large patients: moving one at a time, as `_deal` does, ends far from the best choice.
    for _ in range(_DRAWS if len(names) < _FEW else 1):
        order = generator.permutation(len(names))
        sizes = counts[order].sum(axis=1).cumsum()
        chosen = order[: 1 + int(np.abs(sizes - wanted).argmin())]
        held = counts[chosen].sum(axis=0)
        away = ((held - share * everything) ** 2 / (share * everything)).sum()
        away += everything.sum() * ((held == 0) | (held == everything)).sum()
        if away < nearest:
            nearest, best = away, np.isin(np.arange(len(names)), chosen)
    return np.where(best[group], "val", "train")


def _shuffled(labels: Sequence[str], *, folds: int, fold: int, val: float, seed: int) -> list[str]:
    """Every class dealt by itself, segment by segment: fold `fold` of `folds` is the test part."""
    names = np.asarray(labels)
    subsets = np.full(len(names), "train")
    generator = np.random.default_rng(seed)
    for label in np.unique(names):
        mine = generator.permutation(np.flatnonzero(names == label))
        edges = np.rint(np.arange(folds + 1) / folds * len(mine)).astype(int)
        test = np.zeros(len(mine), bool)
        if fold >= 0:
            test[edges[fold] : edges[fold + 1]] = True
        subsets[mine[test]] = "test"
        subsets[mine[~test][: round(val * len(mine))]] = "val"
        if fold >= 0 and not set(SUBSETS) <= set(subsets[mine].tolist()):
            raise InputError(
                f"class {label}: {len(mine)} segments, too few for train, val and test: lower "
                "split.folds or raise split.val in params.yaml, or map the class to another"
            )
    return [str(subset) for subset in subsets]


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
    if len(names) == len(
        labels
    ):  # nothing binds segments together: no need to weigh them one by one
        return _shuffled(labels, folds=folds, fold=fold, val=val, seed=seed)
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
    for subset in (*SUBSETS, UNUSED, KEPT):
        inside = [index for index, name in enumerate(subsets) if name == subset]
        if not inside:
            continue
        shares = Counter(labels[index] for index in inside)
        classes = ", ".join(
            f"{name} {shares[name]} ({shares[name] / len(inside):.1%})"
            for name in dict.fromkeys(labels)
        )
        owners = len({groups[index] for index in inside})
        lines.append(
            f"{subset:>6}: {owners} patients or records, {len(inside)} segments: {classes}"
        )
    return "\n".join(lines)
