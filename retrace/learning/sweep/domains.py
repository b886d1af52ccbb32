"""What a param of a search space may be: one of some values, or a number of a range.

A draw is what a searcher handles: a number, or a choice as JSON text, since choices may be lists,
null or numbers. `value` makes of it what params.yaml would hold.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrace.errors import InputError

Draw = float | int | str
_DIGITS = 4  # of a drawn number: enough to search by, and short enough to read and to type


@dataclass(frozen=True)
class Choice:
    """One of `options`, in no order."""

    options: Sequence[Any]

    @property
    def texts(self) -> list[str]:
        """The draws there are."""
        return [json.dumps(option) for option in self.options]

    def value(self, draw: Draw) -> Any:
        return json.loads(str(draw))

    def ends(self) -> list[Any]:
        """The values to check before a sweep starts."""
        return list(self.options)


@dataclass(frozen=True)
class Steps:
    """low, low + step, ...: `count` numbers, drawn by their place from 0."""

    low: float
    step: float
    count: int

    def value(self, draw: Draw) -> float:
        number = self.low + int(draw) * self.step
        return number if isinstance(number, int) else float(f"{number:.12g}")

    def ends(self) -> list[float]:
        return [self.value(0), self.value(self.count - 1)]


@dataclass(frozen=True)
class Range:
    """Any number from low to high; `log`: as likely in each decade."""

    low: float
    high: float
    log: bool

    def value(self, draw: Draw) -> float:
        return min(max(float(f"{float(draw):.{_DIGITS}g}"), self.low), self.high)

    def ends(self) -> list[float]:
        return [self.low, self.high]


Domain = Choice | Steps | Range
KINDS = ("choice", "uniform", "loguniform", "randint", "quniform")


def domain(entry: Mapping[str, Any]) -> Domain:
    """{choice: [...]}, {uniform: [low, high]}, {loguniform: ...}, {randint: ...} (whole numbers,
    both ends count) or {quniform: [low, high, step]} as a domain.

    Raises InputError with the rule that is broken, without the key.
    """
    kind, given = next(iter(entry.items())) if len(entry) == 1 else (None, None)
    if kind not in KINDS:
        raise InputError(f"expected one of {', '.join(KINDS)}; got {_shown(entry)}")
    if kind == "choice":
        if not isinstance(given, list) or not given:
            raise InputError(f"choice: expected a list of one or more values; got {_shown(given)}")
        if len({json.dumps(option) for option in given}) < len(given):
            raise InputError(f"choice: one of {_shown(given)} stands there twice; name each once")
        return Choice(given)
    count = 3 if kind == "quniform" else 2
    if not isinstance(given, list) or len(given) != count or not all(map(_is_number, given)):
        names = "[low, high, step]" if count == 3 else "[low, high]"
        raise InputError(f"{kind}: expected {names}, numbers; got {_shown(given)}")
    low, high, *step = given
    if not low < high:
        raise InputError(f"{kind}: {_shown(given)} is an empty range; low must be below high")
    if kind == "randint" or step:
        return _steps(low, high, step[0] if step else 1, whole=kind == "randint")
    if kind == "loguniform" and low <= 0:
        raise InputError(
            f"loguniform: {_shown(given)}; there is no logarithm of {low}: start above 0"
        )
    return Range(float(low), float(high), kind == "loguniform")


def _steps(low: float, high: float, step: float, *, whole: bool) -> Steps:
    if whole and not (isinstance(low, int) and isinstance(high, int)):
        raise InputError(f"randint: expected whole numbers; got {_shown([low, high])}")
    if step <= 0 or step > high - low:
        raise InputError(
            f"quniform: step {step:g}; it must be above 0 and at most {high - low:g}, the range"
        )
    return Steps(low, step, math.floor((high - low) / step + 1e-9) + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
