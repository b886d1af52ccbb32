"""Have the recordings changed since a model was tested? Each number by itself, and all together.

A person's recordings resemble each other, so a person is one piece of evidence however many
recordings there are: each counts as one, and a permutation moves whole persons from one side to the
other. What is asked of many numbers at once errs for one of them sooner than 5 % suggest, so that
their p values are corrected together.

Sources: KS: Hodges, Arkiv för Matematik 3 (1958) 469-486. PSI: Siddiqi, Credit Risk Scorecards
(2006), chapter 10. Permutation and correction (step-down minP, which knows that numbers hang
together and so needs fewer persons than Holm's): Westfall and Young, Resampling-Based Multiple
Testing (1993), algorithm 2.8.
"""

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.scoring.intervals import LEVEL

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Persons on either side. Of five and five, one division in 126 is as unlike as can be.
LEAST = 5
PERMUTATIONS = 2000
BINS = 10
MIX = "mix"  # the name of the row about classes
# Of a person in each bin: without it an empty one would make the index infinite.
SPARE = 0.5
BLOCK = 1 << 21  # numbers, (permutations, recordings), that are looked at together
DIGITS = 9  # two sums of the same numbers in another order are equal


@dataclass(frozen=True)
class Sample:
    """n recordings. features: (n,) each, by name, NaN where unknown. mix: (n, classes), how many
    segments were answered as each of `classes`. groups: n, whose each is."""

    features: Mapping[str, Floats]
    mix: Floats
    classes: tuple[str, ...]
    groups: Sequence[Hashable]


@dataclass(frozen=True)
class Row:
    """What was found of one number, or of the mix of classes.

    statistic: what is tested, KS of a number (0 to 1), PSI of the mix. psi: PSI over the deciles
    of the reference, or over classes. chance: the PSI that so few persons have without drift, by
    the median of the permutations; common limits (0.1, 0.25) are of thousands. p: of no drift.
    corrected: the same for all rows together. persons: of the reference, and now. words: the two
    sides, or that there are too few persons, and then p is 1.
    """

    name: str
    statistic: float
    psi: float
    chance: float
    p: float
    corrected: float
    drifted: bool
    persons: tuple[int, int]
    words: str


@dataclass(frozen=True)
class _Found:
    """One number in all divisions of the persons, the true one first: (divisions,) each."""

    statistics: Floats
    psi: Floats
    persons: tuple[int, int]
    words: str

    @property
    def enough(self) -> bool:
        return min(self.persons) >= LEAST

    def row(self, name: str, p: float, corrected: float) -> Row:
        few = "" if self.enough else f"; fewer than {LEAST} persons on a side tell nothing"
        return Row(
            name,
            statistic=float(self.statistics[0]),
            psi=float(self.psi[0]),
            chance=float(np.median(self.psi[1:])),
            p=p,
            corrected=corrected,
            drifted=corrected < 1 - LEVEL,
            persons=self.persons,
            words=self.words + few,
        )


def compare(
    reference: Sample, current: Sample, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> list[Row]:
    """A row for each feature that both have, then one of the mix unless their classes differ.

    p is the share of divisions of the persons into two sides of these sizes, drawn from `seed`,
    that are as unlike as the true one. It takes the persons of both sides for drawn from one
    population; two wards are two populations, and that is found as drift too. A person on both
    sides belongs to the reference, and is left out of the current side.
    Raises InputError where one side has nobody.
    """
    current = without(current, set(reference.groups))
    names: dict[tuple[bool, Hashable], int] = {}
    sides = [(False, group) for group in reference.groups]
    sides += [(True, group) for group in current.groups]
    member = np.array([names.setdefault(side, len(names)) for side in sides], np.int64)
    now = np.array([side for side, _ in names], bool)
    if now.all() or not now.any():
        raise InputError(
            f"{np.sum(~now)} persons in the reference, {np.sum(now)} beside them; each side needs "
            f"at least {LEAST}: wait for more recordings"
        )
    divisions = _divisions(now, seed, permutations)
    found = {
        name: _of_feature(np.concatenate([values, current.features[name]]), member, divisions)
        for name, values in reference.features.items()
        if name in current.features
    }
    if reference.classes == current.classes:
        mix = np.concatenate([reference.mix, current.mix])
        found[MIX] = _of_mix(mix, reference.classes, member, divisions)
    judged: dict[str, tuple[float, float]] = {}
    if tested := [name for name, one in found.items() if one.enough]:
        columns = np.column_stack([found[name].statistics for name in tested])
        judged = dict(zip(tested, zip(*westfall_young(columns), strict=True), strict=True))
    return [one.row(name, *judged.get(name, (1.0, 1.0))) for name, one in found.items()]


def without(sample: Sample, persons: Set[Hashable]) -> Sample:
    """The sample without the recordings of these persons."""
    kept = [row for row, group in enumerate(sample.groups) if group not in persons]
    return Sample(
        {name: values[kept] for name, values in sample.features.items()},
        sample.mix[kept],
        sample.classes,
        [sample.groups[row] for row in kept],
    )


def westfall_young(statistics: Floats) -> tuple[list[float], list[float]]:
    """p values of k tests, each by itself and corrected for all.

    statistics: (divisions, k), larger where the sides are less alike; the first division is the
    true one, and counts among the others, so that no p is zero.
    """
    count, k = statistics.shape
    p = np.empty_like(statistics)
    for column, values in enumerate(statistics.T):
        p[:, column] = (count - np.searchsorted(np.sort(values), values, side="left")) / count
    order = np.argsort(p[0], kind="stable")
    # The least p of a division among the tests that are still in question.
    least = np.minimum.accumulate(p[:, order[::-1]], axis=1)[:, ::-1]
    held = np.maximum.accumulate((least <= p[0, order]).mean(axis=0))
    corrected = np.empty(k)
    corrected[order] = held
    return p[0].tolist(), corrected.tolist()


def _divisions(now: Bools, seed: int, permutations: int) -> Bools:
    """Which persons (g,) are on the current side: (1 + permutations, g), the true one first."""
    generator = np.random.default_rng([seed, *b"drift"])
    drawn = generator.permuted(np.broadcast_to(now, (permutations, len(now))), axis=1)
    return np.concatenate([now[np.newaxis], drawn])


def _of_feature(values: Floats, member: Integers, divisions: Bools) -> _Found:
    known = np.isfinite(values)
    values, member = np.round(values[known], DIGITS), member[known]
    weights = _weights(member)
    now = divisions[0, member]
    sides = [(values[side], weights[side]) for side in (~now, now)]
    persons = len(np.unique(member[~now])), len(np.unique(member[now]))
    if not min(persons):
        nothing = np.zeros(len(divisions))
        return _Found(nothing, nothing, persons, "not known on both sides")
    edges = _edges(*sides[0])
    shares = np.zeros((divisions.shape[1], len(edges) + 1))
    np.add.at(shares, (member, np.searchsorted(edges, values)), weights)
    before, after = (_quantile(*side, np.array([0.5]))[0] for side in sides)
    words = f"median {before:.3g} of {persons[0]} persons, now {after:.3g} of {persons[1]}"
    return _Found(_ks(values, weights, member, divisions), _psi(shares, divisions), persons, words)


def _of_mix(counts: Floats, classes: Sequence[str], member: Integers, divisions: Bools) -> _Found:
    """Of the classes' shares in a person's answers, each person counting as one."""
    known = counts.sum(axis=1) > 0
    counts, member = counts[known], member[known]
    own = counts / counts.sum(axis=1, keepdims=True) * _weights(member)[:, np.newaxis]
    shares = np.zeros((divisions.shape[1], len(classes)))
    np.add.at(shares, member, own)
    there = shares.sum(axis=1) > 0
    sides = [shares[there & side] for side in (~divisions[0], divisions[0])]
    persons = len(sides[0]), len(sides[1])
    if not min(persons):
        nothing = np.zeros(len(divisions))
        return _Found(nothing, nothing, persons, "no answers on both sides")
    psi = _psi(shares, divisions)
    said = [
        f"{name} {before:.1%} of the answers, now {after:.1%}"
        for name, before, after in zip(classes, *(side.mean(axis=0) for side in sides), strict=True)
    ]
    return _Found(psi, psi, persons, "; ".join(said))


def _weights(member: Integers) -> Floats:
    """What each recording counts for: those of a person sum to one."""
    return np.asarray(1 / np.bincount(member)[member], np.float64)


def _edges(values: Floats, weights: Floats) -> Floats:
    """The deciles. A value that several of them have is a bin by itself: half of the recordings may
    be good throughout, and another that is not must not be among them."""
    deciles = _quantile(values, weights, np.linspace(0, 1, BINS + 1)[1:-1])
    often = deciles[1:][np.diff(deciles) == 0]
    return np.unique(np.concatenate([deciles, np.nextafter(often, -np.inf)]))


def _quantile(values: Floats, weights: Floats, shares: Floats) -> Floats:
    found = np.quantile(values, shares, weights=weights, method="inverted_cdf")
    return np.asarray(found, np.float64)


def _ks(values: Floats, weights: Floats, member: Integers, divisions: Bools) -> Floats:
    """The largest distance between the two distributions, in each division."""
    order = np.argsort(values, kind="stable")
    last = np.flatnonzero(np.diff(values[order], append=np.inf) > 0)  # of equal ones
    found = []
    for start in range(0, len(divisions), max(1, BLOCK // len(values))):
        block = divisions[start : start + max(1, BLOCK // len(values))]
        now = block[:, member[order]] * weights[order]
        sides = [np.cumsum(side, axis=1) for side in (weights[order] - now, now)]
        with np.errstate(invalid="ignore"):
            first, second = (side[:, last] / side[:, -1:] for side in sides)
        # A division that leaves a side nobody whose number is known is as unlike as can be.
        found.append(np.nan_to_num(np.abs(first - second), nan=1.0).max(axis=1))
    return np.asarray(np.round(np.concatenate(found), DIGITS))


def _psi(shares: Floats, divisions: Bools) -> Floats:
    """The population stability index in each division; shares: (persons, bins)."""
    sides = [side @ shares + SPARE for side in (~divisions, divisions)]
    first, second = (side / side.sum(axis=1, keepdims=True) for side in sides)
    return np.asarray(np.round(((second - first) * np.log(second / first)).sum(axis=1), DIGITS))
