"""What follows from an answer at the two limits that the clinic sets."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.answers import Answer, normal
from retrace.deploy.readers.common import printable
from retrace.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The two limits; None: not set, for neither has a default.

    threshold: a segment whose probability of being abnormal is at least this is flagged. reject:
    an answer whose probability is below this is uncertain.
    """

    threshold: float | None = None
    reject: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--threshold", self.threshold), ("--reject", self.reject)):
            if value is not None and not 0 <= value <= 1:  # neither is true of NaN
                raise InputError(
                    f"{option} {value:g}: a probability is from 0 to 1: write 0.5 for 50 %"
                )

    def check(self, classes: Sequence[str]) -> None:
        """Refuse a threshold for classes of which none is the normal one."""
        if self.threshold is not None and normal(classes) is None:
            raise InputError(
                f"--threshold {self.threshold:g}: it flags what is not normal, but of the model's "
                f"classes, {', '.join(classes)}, none is N, NSR or normal: leave --threshold out"
            )


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one segment.

    sample: where it lies. name: its class, None where it got no answer, for the reason `left_out`.
    probability: of that class. abnormal: of any but the normal class. flagged, uncertain: None
    where no limit was set.
    """

    sample: int
    name: str | None
    probability: float | None = None
    probabilities: tuple[float, ...] = ()
    abnormal: float | None = None
    flagged: bool | None = None
    uncertain: bool | None = None
    left_out: str | None = None


@dataclass(frozen=True)
class Judged:
    """An answer of k segments and what follows from it.

    placed: whether its segments have a place in a recording; ready ones have but their number.

    A flag asks whether a segment is abnormal, uncertainty whether its class can be told: a beat
    that is surely either V or F is both flagged and uncertain. What is uncertain is counted apart
    and is part of no event (count of a class, burden, run, episode).
    """

    answer: Answer
    limits: Limits
    placed: bool = True

    def __post_init__(self) -> None:
        self.limits.check(self.answer.classes)

    @property
    def name(self) -> str:
        """Of the recording, on one line: a file may be named anything."""
        return printable(self.answer.name)

    @cached_property
    def normal(self) -> str | None:
        """The class that is not flagged; None where no class is normal."""
        return normal(self.answer.classes)

    @cached_property
    def best(self) -> NDArray[np.int64]:
        """(k,) number of the most probable class."""
        return self.answer.best

    @cached_property
    def abnormal(self) -> NDArray[np.float64] | None:
        """(k,) probability of any class but the normal one; None where no class is normal."""
        if self.normal is None:
            return None
        healthy = self.answer.probabilities[:, self.answer.classes.index(self.normal)]
        return np.asarray(np.clip(1 - healthy, 0, 1))

    @cached_property
    def flagged(self) -> NDArray[np.bool_]:
        """(k,) whether its probability of being abnormal reaches the threshold."""
        if self.limits.threshold is None or self.abnormal is None:
            return np.zeros(len(self.best), np.bool_)
        return np.asarray(self.abnormal >= self.limits.threshold)

    @cached_property
    def uncertain(self) -> NDArray[np.bool_]:
        """(k,) whether even the most probable class stays below the reject limit."""
        return np.asarray(self.answer.confidence < (self.limits.reject or 0))

    def are(self, name: str) -> NDArray[np.bool_]:
        """(k,) which segments are of the class `name`, without the uncertain ones."""
        if name not in self.answer.classes:
            return np.zeros(len(self.best), np.bool_)
        return np.asarray((self.best == self.answer.classes.index(name)) & ~self.uncertain)

    def rows(self) -> Iterator[Row]:
        """All segments in the order of time, with those that got no answer."""
        answer = self.answer
        missing = (Row(sample, None, left_out=why) for sample, why in sorted(answer.left_out))
        return heapq.merge(self._answered(), missing, key=lambda row: row.sample)

    def _answered(self) -> Iterator[Row]:
        flags = self.limits.threshold is not None
        doubts = self.limits.reject is not None
        abnormal = None if self.abnormal is None else self.abnormal.tolist()
        probabilities = self.answer.probabilities.tolist()
        for number, sample in enumerate(self.answer.samples.tolist()):
            best = int(self.best[number])
            yield Row(
                sample,
                self.answer.classes[best],
                probabilities[number][best],
                tuple(probabilities[number]),
                abnormal[number] if abnormal else None,
                bool(self.flagged[number]) if flags else None,
                bool(self.uncertain[number]) if doubts else None,
            )
