"""Where a param's values lie on an axis, whatever they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrace.learning.sweep.cells import STEPS, exact, short


@dataclass(frozen=True)
class Axis:
    """Values at places between 0 and 1, and the names of some.

    steps: their places, where values are steps of equal distance; else low to high, logarithmic
    where `log`.
    """

    ticks: Sequence[tuple[float, str]]
    steps: dict[str, float] | None
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    def place(self, value: Any, number: int = 0) -> float:
        """Where a value lies; it must be one of those of which the axis was made, or between.

        number: of its trial, where those of one step are to lie beside each other.
        """
        if self.steps is None:
            return _share(float(value), self.low, self.high, self.log)
        # Multiples of the golden ratio: neighbours in time are far apart.
        aside = (number * 0.618034) % 1 - 0.5 if number else 0.0
        return self.steps[exact(value)] + 0.4 * aside / len(self.steps)


def axis(values: Sequence[Any], log: bool = False) -> Axis:
    """The axis of a param's `values`, of which there is one at least."""
    distinct = {exact(value): value for value in values}
    numbers = not any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values)
    # Few values that come again were chosen from a list.
    if numbers and not (len(distinct) <= STEPS and 2 * len(distinct) <= len(values)):
        return span(values, log)
    order = sorted(distinct.values(), key=_order)
    # Off the ends, so that neither looks extreme; a lone value lies in the middle.
    places = [(number + 0.5) / len(order) for number in range(len(order))]
    steps = {exact(value): place for value, place in zip(order, places, strict=True)}
    return Axis(list(zip(places, map(short, order), strict=True)), steps)


def span(values: Sequence[float], log: bool = False) -> Axis:
    """The axis from the least to the largest of some numbers."""
    low, high = float(min(values)), float(max(values))
    if low == high:
        low, high = low - 0.5, high + 0.5
    log = log and low > 0
    whole = all(isinstance(value, int) for value in values)
    ticks = [(_share(at, low, high, log), f"{at:.4g}") for at in _round(low, high, log, whole)]
    return Axis(ticks, None, low, high, log)


def _order(value: Any) -> tuple[int, float, int, str]:
    """null, then numbers by size, then lists by length, then text."""
    if value is None:
        return 0, 0, 0, ""
    if isinstance(value, (int, float)):
        return 1, float(value), 0, ""
    return 2, 0, len(value) if isinstance(value, (list, tuple)) else 0, exact(value)


def _share(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _round(low: float, high: float, log: bool, whole: bool) -> list[float]:
    """Round numbers between low and high: some four, or on a log axis powers of 10 and parts."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if not log or high / low < 4:
        found = MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    else:
        parts = (1.0,) if high / low > 100 else (1.0, 3.0) if high / low > 20 else (1.0, 2.0, 5.0)
        found = LogLocator(subs=parts, numticks=99).tick_values(low, high)
    margin = (high - low) * 1e-9
    return [float(at) for at in found if low - margin <= at <= high + margin]
