"""The staff's rules applied: which beats, windows and recordings are flagged, which are uncertain.

None has a default: where the staff have set none, nothing is flagged, and the answer says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.answers import Answer
from retrace.deploy.judged import Judged, Limits
from retrace.deploy.report import clock
from retrace.deploy.summary import runs as unbroken

FIRST = 3  # of the segments that are flagged for a class: the alert says where they are


@dataclass(frozen=True, slots=True)
class Rule:
    """From when a class is flagged; None: not set.

    probability: of the class, for one segment. count, burden, run: how many segments of a recording
    are of this class, their share of those that are certain, and the longest unbroken row of them.
    """

    probability: float | None = None
    count: int | None = None
    burden: float | None = None
    run: int | None = None

    @property
    def whole(self) -> bool:
        """Whether anything is set for recordings."""
        return any(value is not None for value in (self.count, self.burden, self.run))


@dataclass(frozen=True, slots=True)
class Flag:
    """What has to be looked at again: a class, at a level ("segment", "recording"), and why."""

    name: str
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an answer of k segments.

    segments, uncertain: (k,) whether each is flagged, whether it is uncertain; None where the staff
    have set no rule for that. flags: one for each class and level. set: whether the staff have set
    any rule for the classes of the model. flagged: whether anything is flagged; None where no rule
    applies. flagging, doubt: what is to be said of the flags, and of what is uncertain.
    """

    segments: NDArray[np.bool_] | None
    uncertain: NDArray[np.bool_] | None
    flags: tuple[Flag, ...]
    set: bool
    flagged: bool | None
    flagging: str
    doubt: str


@dataclass(frozen=True, slots=True)
class _Applied:
    """Of the rules those for the classes of one model. limits: (classes,) probability from which
    a segment is flagged, infinite where none is set; None where none is at all."""

    limits: NDArray[np.float64] | None
    segment: tuple[str, ...]
    recording: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """All rules at one time. reject: the probability below which an answer is uncertain."""

    flags: Mapping[str, Rule] = field(default_factory=dict)
    reject: float | None = None
    _known: dict[tuple[str, ...], _Applied] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def judge(self, answer: Answer, placed: bool = True) -> Verdict:
        """Apply the rules. placed: whether the segments are those of one recording; beats that
        came by themselves make no recording, and its rules say nothing of them."""
        rules = self._for(answer.classes)
        whole = rules.recording if placed else ()
        segments = None
        flags: list[Flag] = []
        if rules.limits is not None:
            over = answer.probabilities >= rules.limits
            segments = np.asarray(over.any(axis=1))
            if np.count_nonzero(segments):
                flags += self._of_segments(answer, over, placed)
        if whole:
            flags += self._of_recording(answer, whole)
        uncertain = None if self.reject is None else answer.confidence < self.reject
        return Verdict(
            segments,
            uncertain,
            tuple(flags),
            bool(rules.segment or rules.recording),
            bool(flags) if rules.segment or whole else None,
            self._flagging(answer.unit, rules, segments, flags, placed),
            self._doubt(answer.unit, uncertain),
        )

    def _for(self, classes: tuple[str, ...]) -> _Applied:
        found = self._known.get(classes)
        if found is None:
            rules = {name: self.flags[name] for name in classes if name in self.flags}
            segment = {n: r.probability for n, r in rules.items() if r.probability is not None}
            limits = np.array([segment.get(name, np.inf) for name in classes])
            recording = tuple(name for name, rule in rules.items() if rule.whole)
            found = _Applied(limits if segment else None, tuple(segment), recording)
            self._known[classes] = found
        return found

    def _of_segments(self, answer: Answer, over: NDArray[np.bool_], placed: bool) -> Iterator[Flag]:
        for column in np.flatnonzero(over.any(axis=0)).tolist():
            name = answer.classes[column]
            numbers = np.flatnonzero(over[:, column])
            first = numbers[:FIRST]
            if placed:
                seconds = (answer.samples[first] / answer.fs).tolist()
                where = f"; at {', '.join(clock(second) for second in seconds)}"
            else:
                where = f"; number {', '.join(map(str, first.tolist()))}"
            yield Flag(
                name,
                "segment",
                f"{name}: {_many(len(numbers), answer.unit)}, rule: a probability of at least "
                f"{self.flags[name].probability:g}{where}"
                + (" and so on" if len(numbers) > FIRST else ""),
            )

    def _of_recording(self, answer: Answer, names: tuple[str, ...]) -> Iterator[Flag]:
        judged = Judged(answer, Limits(reject=self.reject))
        certain = int((~judged.uncertain).sum())
        for name in names:
            rule, count, why = self.flags[name], int(judged.are(name).sum()), []
            if rule.count is not None and count >= rule.count:
                why.append(f"{_many(count, answer.unit)}, rule: at least {rule.count}")
            if rule.burden is not None and certain and count / certain >= rule.burden:
                why.append(
                    f"{count / certain:.4g} of {_many(certain, 'certain ' + answer.unit)}, "
                    f"rule: at least {rule.burden:g}"
                )
            if rule.run is not None:
                longest = max((stop - start for start, stop in unbroken(judged, name)), default=0)
                if longest >= rule.run:
                    why.append(f"{_many(longest, answer.unit)} in a row, rule: at least {rule.run}")
            if why:
                yield Flag(name, "recording", f"{name}: {'; '.join(why)}")

    def _flagging(
        self,
        unit: str,
        rules: _Applied,
        segments: NDArray[np.bool_] | None,
        flags: list[Flag],
        placed: bool,
    ) -> str:
        if not self.flags:
            return "Nothing is flagged: the staff have set no rule."
        if not rules.segment and not rules.recording:
            return "Nothing is flagged: the staff have set no rule for the classes of this model."
        if segments is None:
            said = f"No {unit} is flagged: the staff have set no rule for a {unit}"
        else:
            said = f"{_of(segments, unit)} flagged by the rules for "
            said += ", ".join(_named(flags, "segment") or rules.segment)
        names = ", ".join(_named(flags, "recording") or rules.recording)
        if not placed:
            if names:
                said += f"; those for a recording ({names}) do not apply to a {unit} by itself"
        elif not names:
            said += "; the recording is not flagged: the staff have set no rule for a recording"
        else:
            found = "" if _named(flags, "recording") else "not "
            said += f"; the recording is {found}flagged by the rules for {names}"
        return f"{said}."

    def _doubt(self, unit: str, uncertain: NDArray[np.bool_] | None) -> str:
        if uncertain is None:
            return "Nothing is called uncertain: the staff have set no limit."
        return f"{_of(uncertain, unit)} uncertain: below a probability of {self.reject:g}."


def _named(flags: list[Flag], level: str) -> list[str]:
    """The classes for which something of this level is flagged."""
    return [flag.name for flag in flags if flag.level == level]


def _many(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _of(chosen: NDArray[np.bool_], unit: str) -> str:
    count, whole = np.count_nonzero(chosen), len(chosen)
    if whole == 1:
        return f"The {unit} is" if count else f"The {unit} is not"
    return f"{count or 'None'} of {whole} {unit}s {'are' if count > 1 else 'is'}"
