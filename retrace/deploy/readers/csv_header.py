"""What the first lines of a CSV table say, and its column of times: names, units, rate."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset(["", "nan", "na", "n/a", "null", "none", "-"])  # "-" is rdsamp's
_UNIT = re.compile(r"(.*?)\s*[(\[]([^()\[\]]*)[)\]]")
_TIME = re.compile(r"(?:elapsed )?(?:time|timestamp|t|seconds|sec)(?:_(s|ms|us))?")
_COUNT = re.compile(r"|index|unnamed: 0|samples?(?: (?:#|number|interval))?")
_TICKS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e3, "msec": 1e3, "us": 1e6}


@dataclass(frozen=True)
class Columns:
    """What the columns are.

    lines: how many of the first lines are no samples. first: the kind of the first column. ticks:
    of a time, how many of its numbers a second has. names, units: of the leads; a unit is None
    where the table names none, and mV is meant.
    """

    delimiter: str
    lines: int
    first: Literal["lead", "time", "sample"]
    ticks: float
    names: tuple[str, ...]
    units: tuple[str | None, ...]

    @property
    def width(self) -> int:
        """How many fields a line has."""
        return len(self.names) + (self.first != "lead")


def columns(lines: list[str]) -> Columns:
    """The columns of a table that begins with these two lines.

    A first line that is not all numbers names them; a second one like it gives the units, as
    PhysioNet's rdsamp writes them. Raises ValueError with the reason.
    """
    delimiter = next((mark for mark in "\t;," if mark in lines[0]), ",")
    head = fields(lines[0], delimiter)
    if len(head) > 1 and head[-1] == "":  # lines that end with a delimiter
        head.pop()
    counted = [str(number) for number in range(len(head) - 1)]
    values = fields(dotted(lines[0], delimiter), delimiter)[: len(head)]
    if all(map(is_number, values)) and not (head[0] == "" and head[1:] == counted):  # of pandas
        names = tuple(str(number) for number in range(1, len(head) + 1))
        return Columns(delimiter, 0, "lead", 1.0, names, (None,) * len(head))
    named = [_named(word) for word in head]
    second = fields(dotted(lines[-1], delimiter), delimiter)[: len(head)]
    units_follow = len(lines) > 1 and len(second) == len(head) and not any(map(is_number, second))
    if units_follow:
        named = [(name, unit) for (name, _), unit in zip(named, second, strict=True)]
    first, ticks = _first(*named[0])
    leads = named if first == "lead" else named[1:]
    return Columns(
        delimiter,
        1 + units_follow,
        first,
        ticks,
        tuple(name or str(number) for number, (name, _) in enumerate(leads, start=1)),
        tuple(unit for _, unit in leads),
    )


def fields(line: str, delimiter: str) -> list[str]:
    """The fields of a line without blanks and quotes."""
    return [word.strip().strip("'\"").strip() for word in line.split(delimiter)]


def dotted(line: str, delimiter: str) -> str:
    """A line with decimal points, where much of Europe writes a comma."""
    return line if delimiter == "," else line.replace(",", ".")


def is_number(word: str) -> bool:
    """Whether a field is a number or a time, or says that a sample is missing."""
    try:
        seconds(word)
    except ValueError:
        return word.lower() in MISSING
    return "_" not in word


def seconds(word: str) -> float:
    """A time as a number, or as hours:minutes:seconds."""
    total = 0.0
    for part in word.strip().strip("'\"[]").split(":"):
        total = 60 * total + float(part)
    return total


def _named(word: str) -> tuple[str, str | None]:
    """The name and the unit in "MLII (uV)"."""
    found = _UNIT.fullmatch(word)
    return (found[1], found[2].strip()) if found else (word, None)


def _first(name: str, unit: str | None) -> tuple[Literal["lead", "time", "sample"], float]:
    name, unit = name.lower(), (unit or "").lower()
    if _COUNT.fullmatch(name):
        return "sample", 1.0
    if not (found := _TIME.fullmatch(name)):
        return "lead", 1.0
    unit = found[1] or unit or "s"
    if unit not in _TICKS and ":" not in unit:
        raise ValueError(f"time in {unit!r}; {', '.join(_TICKS)} and hh:mm:ss are known")
    return "time", _TICKS.get(unit, 1.0)


@dataclass
class Clock:
    """The sampling rate that a column of times (s) tells, read block by block.

    grain: half of the last decimal place (s): so far each time may be off.
    """

    grain: float
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    shortest: float = np.inf
    longest: float = -np.inf

    def add(self, times: NDArray[np.float64]) -> None:
        """The next times; ValueError where one is missing."""
        if not np.isfinite(times).all():
            raise ValueError("a time is missing")
        if self.count == 0:
            self.first = self.last = float(times[0])
        steps = np.diff(times, prepend=self.last)[0 if self.count else 1 :]
        if steps.size:
            self.shortest = min(self.shortest, float(steps.min()))
            self.longest = max(self.longest, float(steps.max()))
        self.count += len(times)
        self.last = float(times[-1])

    def rate(self, given: float | None) -> float:
        """Hz; ValueError where the times are not those of an even sampling.

        A whole number where the times allow one, since they are rounded; `given` likewise.
        """
        steps, length = self.count - 1, self.last - self.first
        slack = 2 * self.grain + 1e-15 * max(abs(self.first), abs(self.last))
        if steps < 1 or self.shortest < -slack or length <= 2 * slack:
            raise ValueError("times do not ascend")
        low, found, high = steps / (length + slack), steps / length, steps / (length - slack)
        if self.longest > 1.5 / found + slack or self.shortest < 0.5 / found - slack:
            raise ValueError(
                f"steps from {self.shortest:.4g} to {self.longest:.4g} s; they must be even"
            )
        if high - low > 0.02 * found:
            raise ValueError("times are too coarse")
        margin = 1e-6 * found
        for likely in (given, round(found)):
            if likely is not None and low - margin <= likely <= high + margin:
                return float(likely)
        return found
