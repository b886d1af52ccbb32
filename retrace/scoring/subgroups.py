"""The same scores for women and men and for each age band, with the patients behind them."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.scoring import scores
from retrace.scoring.intervals import FEW, Where, measure, share

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SEXES = ("F", "M")
BANDS = ("under 40", "40 to 59", "60 to 79", "80 and over")
EDGES = (40, 60, 80)
# A handful of people says something of themselves, nothing of their group.
ENOUGH = 10


def age_band(age: float | None) -> str | None:
    """The band of an age in years; None where it is unknown (None or NaN)."""
    if age is None or np.isnan(age):
        return None
    return BANDS[int(np.searchsorted(EDGES, age, side="right"))]


def compare(
    y: Integers,
    predicted: Integers,
    classes: Sequence[str],
    *,
    groups: Sequence[Hashable],
    patients: Sequence[str | None],
    ages: Sequence[float | None],
    sexes: Sequence[str | None],
    unit: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores by sex and by age band; an attribute that no record states is left out.

    y, predicted: (n,) class numbers. groups: what the bootstrap draws, n. patients, ages, sexes:
    n, None where unknown. unit: what the n are, "record" or "beat". Macro averages are over the
    classes that the subgroup has, which its `support` lists: between subgroups with different
    classes they cannot be compared.
    """
    attributes: dict[str, tuple[Sequence[str | None], Sequence[str]]] = {
        "sex": ([sex if sex in SEXES else None for sex in sexes], SEXES),
        "age": ([age_band(age) for age in ages], BANDS),
    }
    found: dict[str, Any] = {}
    for attribute, (values, order) in attributes.items():
        parts: dict[str, Any] = {}
        for value in order:
            rows = np.array([row for row, own in enumerate(values) if own == value], dtype=int)
            if not len(rows):
                continue
            owners = {patients[row] for row in rows}
            support = dict(zip(classes, _counts(y[rows], classes), strict=True))
            measured = measure(
                [groups[row] for row in rows],
                _statistic(y[rows], predicted[rows], classes),
                resamples=resamples,
                seed=seed,
            )
            for name, found_of in measured["sensitivity"].items():
                if support[name] < FEW:
                    measured["sensitivity"][name] = share(found_of, support[name])
            parts[value] = {
                f"{unit}s": len(rows),
                "patients": None if None in owners else len(owners),
                "support": support,
                **measured,
            }
        if parts:
            found[attribute] = {
                "groups": parts,
                f"unknown_{unit}s": sum(own is None for own in values),
                "note": _verdict(parts),
            }
    return found


def _counts(y: Integers, classes: Sequence[str]) -> list[int]:
    return [int(count) for count in np.bincount(y, minlength=len(classes))]


def _statistic(
    y: Integers, predicted: Integers, classes: Sequence[str]
) -> Callable[[Floats], dict[Where, Floats]]:
    here = scores.present(y, len(classes))

    def statistic(weights: Floats) -> dict[Where, Floats]:
        matrix = scores.confusion(y, predicted, len(classes), weights)
        rates = scores.rates(matrix)
        found: dict[Where, Floats] = {
            ("accuracy",): scores.accuracy(matrix),
            ("f1_macro",): scores.macro(rates.f1, here),
            ("sensitivity_macro",): scores.macro(rates.sensitivity, here),
        }
        for c, name in enumerate(classes):
            if here[c]:
                found["sensitivity", name] = rates.sensitivity[:, c]
        return found

    return statistic


def _verdict(parts: dict[str, Any]) -> str:
    if any(part["patients"] is None for part in parts.values()):
        return "No fairness verdict: the patients are unknown, records cannot stand for them."
    if few := [
        f"{name} ({part['patients']})" for name, part in parts.items() if part["patients"] < ENOUGH
    ]:
        return f"No fairness verdict: fewer than {ENOUGH} patients in {', '.join(few)}."
    return "Compare the intervals, and the classes each group has, before any verdict."
