"""More examples of rare classes in the training part: copies of them, or SMOTE's mixtures."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.learning.checkpoint import flat
from retrace.learning.data import Segments
from retrace.learning.leaks import made_outside_training

METHODS = ("oversample", "smote")

# Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", J. Artif. Intell. Res. 16
# (2002) 321-357: five neighbours.
_NEIGHBOURS = 5
_MOST = 4 * 2**30  # bytes that the enlarged array may take in memory


def enlarged(segments: Segments, method: str, seed: int) -> Segments:
    """The segments with as many of every class in the training part as of its largest.

    method: "oversample" adds copies drawn at random, "smote" points on the lines between a segment
    and one of its five nearest of the same class, by samples (mV) and features alike. What is
    added stands behind the rest, in subset train, of no patient, as "<method>_000001", ... . The
    padding of beats stays zero where both ends of a line have it. A class that has no training
    segment gets none; one with fewer than six has fewer neighbours.

    Raises InputError where SMOTE meets a class with a single segment, and where memory would not
    hold the result.
    """
    rows = segments.rows("train")
    labels = segments.labels[rows]
    counts = np.bincount(labels, minlength=len(segments.classes))
    most = int(counts.max())
    wanted = {label: most for label, n in enumerate(counts.tolist()) if 0 < n < most}
    _require_room(segments, method, sum(most - int(counts[label]) for label in wanted))
    make = _copies if method == "oversample" else _mixtures
    X, features, classes = make(segments, rows, wanted, seed)
    n = len(classes)
    names = [f"{method}_{number:06d}" for number in range(1, n + 1)]
    result = dataclasses.replace(
        segments,
        X=np.concatenate([segments.X, X]),
        features=np.concatenate([segments.features, features]),
        segment_ids=segments.segment_ids + names,
        record_ids=segments.record_ids + names,
        patient_ids=segments.patient_ids + [None] * n,
        starts=segments.starts + [0.0] * n,
        samples=segments.samples + [None] * n,
        symbols=segments.symbols + [None] * n,
        labels=np.concatenate([segments.labels, classes]),
        subsets=np.concatenate([segments.subsets, np.full(n, "train")]),
    )
    if outside := made_outside_training(result.segment_ids, result.subsets.tolist()):
        raise InputError(f"{outside[0]}: made, and no training segment: a leak, please report it")
    return result


Made = tuple[NDArray[np.generic], NDArray[np.float32], NDArray[np.int64]]


def _copies(segments: Segments, rows: NDArray[np.int64], wanted: dict[int, int], seed: int) -> Made:
    from imblearn.over_sampling import RandomOverSampler

    sampler = RandomOverSampler(sampling_strategy=wanted, random_state=seed)
    drawn, _ = sampler.fit_resample(rows[:, None], segments.labels[rows])
    added = drawn[len(rows) :, 0]
    return segments.X[added], segments.features[added], segments.labels[added]


def _mixtures(
    segments: Segments, rows: NDArray[np.int64], wanted: dict[int, int], seed: int
) -> Made:
    from imblearn.over_sampling import SMOTE

    points, labels = flat(segments.X[rows], segments.features[rows]), segments.labels[rows]
    made, classes = [points[:0]], [labels[:0]]
    for label, most in wanted.items():
        others = int((labels == label).sum()) - 1
        if not others:
            raise InputError(
                f"train.imbalance: smote; class {segments.classes[label]} has one training "
                "segment, and a mixture needs two: set it to oversample in params.yaml"
            )
        smote = SMOTE(
            sampling_strategy={label: most},
            k_neighbors=min(_NEIGHBOURS, others),
            random_state=seed,
        )
        found, names = smote.fit_resample(points, labels)
        made.append(found[len(points) :])
        classes.append(names[len(points) :])
    both = np.concatenate(made)
    values = int(np.prod(segments.X.shape[1:]))
    X = both[:, :values].reshape(-1, *segments.X.shape[1:]).astype(segments.X.dtype)
    return X, both[:, values:], np.concatenate(classes)


def _require_room(segments: Segments, method: str, added: int) -> None:
    total, values = len(segments.X) + added, int(np.prod(segments.X.shape[1:]))
    if (needed := total * values * np.dtype(np.float32).itemsize) > _MOST:
        raise InputError(
            f"train.imbalance: {method}; {total} segments of {values} values would take "
            f"{needed / 2**30:.1f} GiB of memory, and at most {_MOST / 2**30:g} are meant for it: "
            "set it to sampler, which draws classes as evenly and keeps nothing"
        )
