"""95 % intervals by a bootstrap over whole patients."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from retrace.errors import InputError

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)
Where = tuple[str, ...]  # the place of a score in the tree of all scores: ("classes", "AF", "f1")

LEVEL = 0.95
# Below this many examples a percentage hides how little was seen: k/n stands beside it.
FEW = 20
# Weights of one block, (resamples, records) float64: 8 MB, near the caches and few passes.
BLOCK = 1 << 20


def bootstrap(
    groups: Sequence[Hashable],
    statistic: Callable[[Floats], Mapping[Key, Floats]],
    *,
    resamples: int,
    seed: int,
) -> dict[Key, Interval | None]:
    """Percentile bootstrap: draw whole groups with replacement, take the middle 95 %.

    groups: n names, one a record (its patient, or the record itself where that is unknown). The
    records of one patient resemble each other; drawing them one by one would count the same
    evidence several times and give intervals that are too narrow.
    statistic: from weights (k, n), how often each record stands in each of k resamples, to scores
    (k,) under any keys; NaN says that a score does not exist in that resample.
    seed: 0 or above; the same seed draws the same resamples.
    Returns (low, high) for each key, None where there are fewer than two groups or where the score
    exists in less than half of the resamples. A score that resampling shifts (ECE: duplicates
    make it larger) may lie outside its own interval.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    """
    if resamples < 1:
        raise InputError(f"resamples: {resamples}; a bootstrap needs at least 1, better 1000")
    names: dict[Hashable, int] = {}
    member = np.array([names.setdefault(name, len(names)) for name in groups], dtype=np.int64)
    # Named after its use: no other generator that starts from the same seed draws the same numbers.
    generator = np.random.default_rng([seed, *b"bootstrap"])
    block = max(1, min(resamples, BLOCK // max(1, len(member))))
    replicates: dict[Key, list[Floats]] = {}
    for start in range(0, resamples, block):
        weights = draw(generator, min(block, resamples - start), len(names))[:, member]
        for key, values in statistic(weights).items():
            replicates.setdefault(key, []).append(values)
    enough = len(names) >= 2
    return {
        key: middle(np.concatenate(blocks)) if enough else None
        for key, blocks in replicates.items()
    }


def measure(
    groups: Sequence[Hashable],
    statistic: Callable[[Floats], Mapping[Where, Floats]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores and their intervals as a tree whose leaves are {"value", "low", "high"}.

    The arguments are those of `bootstrap`; the keys of the statistic are paths into the tree. Six
    decimals are kept, far below any interval; what does not exist is None.
    """
    values = statistic(np.ones((1, len(groups))))
    found = bootstrap(groups, statistic, resamples=resamples, seed=seed)
    tree: dict[str, Any] = {}
    for where, value in values.items():
        branch = tree
        for name in where[:-1]:
            branch = branch.setdefault(name, {})
        branch[where[-1]] = leaf(float(value[0]), found[where])
    return tree


def leaf(value: float, interval: Interval | None) -> dict[str, float | None]:
    """{"value", "low", "high"} as they stand in scores.json; NaN becomes None."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    low, high = (round(end, 6) for end in interval) if interval else (None, None)
    return {"value": round(value, 6), "low": low, "high": high}


def share(measured: Mapping[str, float | None], n: int) -> dict[str, Any]:
    """A leaf that is a share of n records, with its "k" and "n" and the wider of two intervals.

    The bootstrap knows that a patient's records go together but says [0, 0] of 0 in 12; the exact
    binomial interval is the reverse.
    """
    value, low, high = measured["value"], measured["low"], measured["high"]
    if value is None:
        return {"k": 0, "n": n, **measured}
    k = round(value * n)
    least, most = exact(k, n)
    wide = (least if low is None else min(least, low), most if high is None else max(most, high))
    return {"k": k, "n": n, **leaf(k / n, wide)}


def draw(generator: np.random.Generator, k: int, groups: int) -> Floats:
    """How often each group is drawn in each of k resamples: (k, groups), rows summing to groups."""
    picks = generator.integers(0, groups, size=(k, groups))
    places = picks + groups * np.arange(k)[:, np.newaxis]
    counts = np.bincount(places.ravel(), minlength=k * groups)
    return counts.reshape(k, groups).astype(np.float64)


def middle(replicates: Floats) -> Interval | None:
    """The middle 95 % of replicates (k,); None if more than half of them are NaN."""
    known = replicates[~np.isnan(replicates)]
    if 2 * len(known) < len(replicates) or not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def exact(k: int, n: int) -> Interval:
    """Clopper-Pearson 95 % interval of a share of k in n independent records.

    For small counts: a bootstrap of 0 in 12 is [0, 0], as if nothing could ever go wrong.
    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    if not 0 <= k <= n or n == 0:
        raise InputError(f"{k} of {n}: a share needs 0 <= k <= n and n >= 1")
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high
