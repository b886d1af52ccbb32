"""The params of a space as short text: names of columns and axes, and values."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from retrace.learning.sweep.results import Sweep, Trial

# A model's own options. With several models in a space each trial has those of one.
_OPTION = re.compile(r"models\.[^.]+\.(.+)")


LENGTH = -1
STEPS = 8  # so many different values are steps of an axis rather than points on it


@dataclass(frozen=True)
class Column:
    """What a table shows in one column, and a figure on one axis.

    keys: one dotted key; or, of several models, the keys of an option that they share.
    part: of a list that is drawn by its parts: LENGTH, or the place of one of them.
    """

    label: str
    keys: tuple[str, ...]
    part: int | None = None

    def known(self, trial: Trial) -> bool:
        """Whether the trial has a value of it."""
        return any(self._holds(trial.values[key]) for key in self.keys if key in trial.values)

    def value(self, trial: Trial) -> Any:
        """The trial's value; StopIteration where it has none."""
        found = next(trial.values[key] for key in self.keys if key in trial.values)
        if self.part is None:
            return found
        return len(found) if self.part == LENGTH else found[self.part]

    def _holds(self, value: Any) -> bool:
        return self.part is None or (isinstance(value, (list, tuple)) and self.part < len(value))

    def text(self, trial: Trial) -> str:
        """The same for people; nothing where it has none."""
        return short(self.value(trial)) if self.known(trial) else ""


def winner(sweep: Sweep) -> Trial | None:
    """The best trial that did not fail: one that did would fail again."""
    return next((trial for trial in sweep.ranked() if trial.state != "failed"), None)


def top(sweep: Sweep, trial: Trial) -> tuple[int, float]:
    """The epoch and the score of a ranked trial's best epoch."""
    found = trial.best(sweep.score)
    assert found is not None
    return found


def varied(trials: Sequence[Trial]) -> list[Column]:
    """The params of which there is more than one value, or that only some trials have, in the order
    in which they first come."""
    groups: dict[str, list[str]] = {}
    for key in keys(trials):
        option = _OPTION.fullmatch(key)
        groups.setdefault(f"models.*.{option[1]}" if option else key, []).append(key)
    for name, group in list(groups.items()):
        if any(sum(key in trial.values for key in group) > 1 for trial in trials):
            del groups[name]
            groups |= {key: [key] for key in group}
    names = labels([group[0] if len(group) == 1 else name for name, group in groups.items()])
    columns = (Column(name, tuple(g)) for name, g in zip(names, groups.values(), strict=True))
    return [column for column in columns if _differs(column, trials)]


def axes(trials: Sequence[Trial]) -> list[Column]:
    """The same for figures: a list of which there are many becomes its length and its parts."""
    found: list[Column] = []
    for column in varied(trials):
        values = [column.value(trial) for trial in trials if column.known(trial)]
        lists = [value for value in values if isinstance(value, (list, tuple))]
        if not lists or len(set(map(exact, values))) <= STEPS:
            found.append(column)
            continue
        names = {LENGTH: "length", **{n: str(n + 1) for n in range(max(map(len, lists)))}}
        parts = [Column(f"{column.label} {name}", column.keys, n) for n, name in names.items()]
        found += [part for part in parts if _differs(part, trials)]
    return found


def _differs(column: Column, trials: Sequence[Trial]) -> bool:
    return len({exact(column.value(t)) if column.known(t) else "" for t in trials}) > 1


def keys(trials: Sequence[Trial]) -> list[str]:
    """The dotted keys of all trials' values, in the order in which they first come."""
    return list(dict.fromkeys(key for trial in trials for key in trial.values))


def labels(known: Sequence[str]) -> list[str]:
    """For each dotted key a shorter one that means it alone: an option without its model's name, a
    knob of training without `train`; all others are whole."""
    cut = [re.sub(r"^(models\.[^.]+|train)\.", "", key) for key in known]
    return [s if cut.count(s) == 1 else key for s, key in zip(cut, known, strict=True)]


def exact(value: Any) -> str:
    """A value as params.yaml could hold it: null, true, [32, 64]; text as it is, floats with every
    digit."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short(value: Any) -> str:
    """The same for people: floats to three digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(short, value))}]"
    return exact(value)


def clock(seconds: float) -> str:
    """0:12:05."""
    return str(timedelta(seconds=round(seconds)))


def figure(value: float | None) -> str:
    """A score or a loss: 0.8466."""
    return "" if value is None else f"{value:.4f}"


def count(number: int, what: str) -> str:
    """1 trial, 1,234 trials."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
