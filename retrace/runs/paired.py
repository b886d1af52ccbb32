"""Whether one run is better than another on the same test part, or only looks so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from retrace.runs.answers import Answers
from retrace.scoring import scores
from retrace.scoring.intervals import LEVEL, Interval, bootstrap

Floats = NDArray[np.float64]

# More than for an interval: Holm divides 5 % by the number of pairs, and p can be no smaller than
# 2 / resamples.
RESAMPLES, A_PAIR = 10_000, 100


@dataclass(frozen=True)
class Difference:
    """One run's score minus another's, over resamples that both share.

    interval: the middle 95 %; None where one group cannot be resampled, or a class is too rare.
    p: two-sided, the share of resamples on the far side of zero, but no less than so few groups can
    tell; 1 where there is no interval.
    """

    value: float
    interval: Interval | None
    p: float


def known(answers: Answers) -> dict[str, Callable[[Floats], Floats]]:
    """The scores that follow from confusion matrices (k, classes, classes) alone, each (k,).

    They are means over the classes that the whole test part has.
    """
    classes, here = answers.classes, answers.matrices.sum(axis=(0, 2)) > 0
    found: dict[str, Callable[[Floats], Floats]] = {
        "accuracy": scores.accuracy,
        "f1_macro": lambda m: scores.macro(scores.rates(m).f1, here),
        "sensitivity_macro": lambda m: scores.macro(scores.rates(m).sensitivity, here),
    }
    for name, wanted in {"challenge_f1": scores.CHALLENGE_CLASSES, **scores.F1_OF_BEATS}.items():
        columns = scores.columns_of(wanted, classes)
        if columns and here[columns].any():
            found[name] = _f1_of(columns, here)
    normal = np.array([name == scores.NORMAL for name in classes])
    if here[normal].any() and here[~normal].any():
        found["sensitivity_minority"] = lambda m: scores.sensitivity_minority(
            scores.rates(m).sensitivity, here, classes
        )
    return found


def _f1_of(columns: list[int], here: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    return lambda m: scores.macro(scores.rates(m).f1[..., columns], here[columns])


def score(answers: Answers, name: str) -> float:
    """A score of `known` of a whole test part."""
    return float(known(answers)[name](answers.matrices.sum(axis=0)[np.newaxis])[0])


def differences(
    runs: Mapping[str, Answers], name: str, *, seed: int, resamples: int
) -> dict[tuple[str, str], Difference]:
    """How far each run is above each that comes behind it, in a score of `known`.

    runs: by name, all of one test part. Whole patients are drawn, and all runs answer for the same
    draw: what makes a draw easy or hard makes it so for all, and drops out of the differences.
    Source of p: Davison and Hinkley, Bootstrap Methods and their Application (1997), chapter 4;
    one is added to each count, so that p is never zero. Of two patients all draws may say the same:
    p is at least that of a test which exchanges the runs patient by patient.
    """
    first = next(iter(runs.values()))
    scored, size = known(first)[name], len(first.classes)
    flat = {run: each.matrices.reshape(len(each.groups), -1) for run, each in runs.items()}
    pairs, blocks = list(combinations(runs, 2)), list[Floats]()

    def statistic(weights: Floats) -> dict[tuple[str, str], Floats]:
        values = {
            run: scored((weights @ each).reshape(-1, size, size)) for run, each in flat.items()
        }
        found = {(one, other): values[one] - values[other] for one, other in pairs}
        blocks.append(np.array(list(found.values())))
        return found

    intervals = bootstrap(first.groups, statistic, resamples=resamples, seed=seed)
    replicates = dict(zip(pairs, np.concatenate(blocks, axis=1), strict=True))
    found = {}
    for one, other in pairs:
        interval = intervals[one, other]
        value = score(runs[one], name) - score(runs[other], name)
        p = _p(runs[one], runs[other], replicates[one, other]) if interval else 1.0
        found[one, other] = Difference(value, interval, p)
    return found


def _p(one: Answers, other: Answers, replicates: Floats) -> float:
    """Two-sided, of no difference between two runs."""
    held = replicates[~np.isnan(replicates)]
    nearer = min((held <= 0).sum(), (held >= 0).sum())
    unlike = int((one.matrices != other.matrices).any(axis=(1, 2)).sum())
    return float(min(1.0, max(2 * (nearer + 1) / (len(held) + 1), 2.0 ** (1 - unlike))))


def holm(values: Sequence[float]) -> list[float]:
    """p values of several comparisons, each as large as it must be for all to be held together.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    found, largest = [1.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        found[place] = largest
    return found


@dataclass(frozen=True)
class Pair:
    """The best run of a test part against another one; p: corrected for all pairs of that part,
    since which of them is the best was found there as well."""

    best: str
    other: str
    score: str
    difference: Difference
    p: float

    @property
    def shown(self) -> bool:
        """Whether the best is better by more than the draw of patients explains."""
        return self.p < 1 - LEVEL

    def __str__(self) -> str:
        by = f"{self.difference.value:.3f}"
        if self.difference.interval is None:
            return (
                f"{self.best} against {self.other}: {by} in {self.score}, with no interval: too "
                "few patients, or too few examples of a class"
            )
        low, high = self.difference.interval
        measured = f"{by} [{low:.3f}, {high:.3f}]"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        if self.shown:
            return f"{self.best} is better than {self.other} by {measured} in {self.score}, {p}"
        return (
            f"no difference shown between {self.best} and {self.other}: {measured} in "
            f"{self.score}, {p}"
        )


def against_best(runs: Mapping[str, Answers], name: str, *, seed: int) -> list[Pair]:
    """Each run against the one that scores best, the nearest rival first.

    runs: by name, all of one test part.
    """
    values = {run: score(answers, name) for run, answers in runs.items()}
    order = sorted(runs, key=lambda run: -values[run])
    found = differences(
        {run: runs[run] for run in order}, name, seed=seed, resamples=draws(len(runs))
    )
    corrected = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    best, *others = order
    return [Pair(best, other, name, found[best, other], corrected[best, other]) for other in others]


def draws(runs: int) -> int:
    """How many resamples so many runs need, for one pair among them to be shown."""
    return max(RESAMPLES, A_PAIR * runs * (runs - 1) // 2)
