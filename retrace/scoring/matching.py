"""Which beat of a test belongs to which beat of the reference, as WFDB's `bxb` decides it.

Two annotators never mark a beat at the same sample. ANSI/AAMI EC57 lets them differ by 150 ms,
counts no beat in ventricular flutter or fibrillation, and keeps apart what was missed while the
signal could not be read.

Source: G. B. Moody, bxb(1) and "Evaluating ECG Analyzers", WFDB Applications Guide (PhysioNet).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError
from retrace.signals.records import BEATS

Integers = NDArray[np.int64]

WINDOW = 0.15  # s, between two marks of one beat
LEARNING = 300.0  # s at the start of a record that EC57 leaves out

# The partner of a beat that has none: bxb's O, and its X, where the other annotator could not read
# the signal.
ALONE, UNREAD = -1, -2

FAR = 2**60  # samples: after the end of any record, and twice it still fits
UNREADABLE = 0x30  # the bits of the subtype of "~" that say so


def in_samples(seconds: float, fs: float) -> int:
    """A time as a number of samples, halves upwards (as WFDB's `strtim` rounds)."""
    return math.floor(seconds * fs + 0.5)


def _none() -> Integers:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Beats:
    """What one annotator says of a record.

    samples: (n,) ascending. symbols: their n PhysioNet codes. flutter, shutdown: (k, 2) first and
    last sample of each stretch of ventricular flutter or fibrillation and of each stretch that
    cannot be read. No beat lies in flutter.
    """

    samples: Integers
    symbols: tuple[str, ...]
    flutter: Integers = field(default_factory=_none)
    shutdown: Integers = field(default_factory=_none)


def read(
    samples: ArrayLike,
    symbols: Sequence[str],
    fs: float,
    subtypes: Sequence[int] | None = None,
) -> Beats:
    """Sort the annotations of a record into beats, flutter and shutdown.

    samples, symbols: n each, ascending, PhysioNet codes of every kind. subtypes: n; without them
    no shutdown is known, and no beat is `UNREAD`.

    Flutter lasts from "[" to "]", and what is marked inside is passed over. Shutdown lasts from a
    "~" whose subtype has bits 4 and 5 set to the next annotation, if that is a "~" without them;
    if it is anything else the mark stands in the middle of the stretch, as in the AHA database,
    which then reaches to one window from the beat before and from the annotation after it.

    `bxb` differs in two oddities: it remembers the last two stretches alone, which matters where
    three follow each other with one beat or none between them, and it forgets flutter that is not
    over at the end of the file unless it is the first. MIT-BIH has neither.

    Raises InputError for lengths that differ and samples that do not ascend.
    """
    places = np.asarray(samples, dtype=np.int64)
    kinds = [0] * len(symbols) if subtypes is None else list(subtypes)
    if not places.shape == (len(symbols),) == (len(kinds),):
        raise InputError(
            f"{places.size} samples, {len(symbols)} symbols and {len(kinds)} subtypes; an "
            "annotation has one of each: give lists of one length"
        )
    if len(places) and (places[0] < 0 or (np.diff(places) < 0).any()):
        raise InputError("samples of annotations are negative or not in order: sort them by time")
    window = in_samples(WINDOW, fs)
    beats: list[int] = []
    flutter: list[tuple[int, int]] = []
    shutdown: list[tuple[int, int]] = []
    since: int | None = None  # the start of the flutter we are in
    before = 0  # the last beat, or the end of the last flutter
    for n, (sample, symbol) in enumerate(zip(places.tolist(), symbols, strict=True)):
        if since is not None:
            if symbol == "]":
                flutter.append((since, sample))
                since, before = None, sample
        elif symbol == "[":
            since = sample
        elif symbol in BEATS:
            beats.append(n)
            before = sample
        elif symbol == "~" and _unreadable(kinds[n]):
            if n + 1 == len(places):
                shutdown.append((sample, FAR))
            elif symbols[n + 1] == "~" and not _unreadable(kinds[n + 1]):
                shutdown.append((sample, int(places[n + 1])))
            else:
                stop = int(places[n + 1]) - window
                shutdown.append((min(before + window, stop), stop))
    if since is not None:
        flutter.append((since, FAR))
    return Beats(
        places[beats],
        tuple(symbols[n] for n in beats),
        np.array(flutter, dtype=np.int64).reshape(-1, 2),
        np.array(shutdown, dtype=np.int64).reshape(-1, 2),
    )


def _unreadable(subtype: int) -> bool:
    return subtype & UNREADABLE == UNREADABLE


@dataclass(frozen=True)
class Pairs:
    """Who belongs to whom: m numbers of beats on either side, `ALONE` or `UNREAD` for nobody."""

    reference: Integers
    test: Integers

    @property
    def both(self) -> NDArray[np.bool_]:
        """Which of the m are a beat on both sides."""
        return (self.reference >= 0) & (self.test >= 0)


def match(
    reference: Beats, test: Beats, fs: float, *, window: float = WINDOW, start: float = 0.0
) -> Pairs:
    """Pair the beats of a test with those of the reference.

    fs: of both, in Hz. window: the most that a pair may be apart, in s, itself included. start: the
    time in s from which on is scored (EC57: `LEARNING`).

    The two lists are walked through together. Of the two beats in hand the later one may have a
    better partner in the successor of the earlier one: a pair is made if they are within the window
    and the later one is closer to the earlier one than to that successor, or if that successor is
    closer to the later one's own successor. Otherwise the earlier one stays alone.

    At `start` a test beat may belong to a reference beat on the other side of the border. The last
    one before is paired with the first reference beat, if it is within the window and closer than
    the next; else the first one after is passed over, if it is within the window of the border and
    its successor is closer to the first reference beat.

    A test beat without a partner in the reference's flutter is not listed: it is neither right nor
    wrong. Every other beat from `start` on is listed once, in the order of the walk.
    """
    width, border = in_samples(window, fs), in_samples(start, fs)
    ours = [*reference.samples.tolist(), FAR, FAR]
    theirs = [*test.samples.tolist(), FAR, FAR]
    i, j = (int(np.searchsorted(beats.samples, border)) for beats in (reference, test))
    made: list[tuple[int, int]] = []
    if border > 0:
        first, here, after = ours[i], theirs[j], theirs[j + 1]
        across = first - theirs[j - 1] if j > 0 else FAR
        if across <= width and across < abs(first - here):
            made.append((i, j - 1))
            i += 1
        elif here - border <= width and abs(first - after) < abs(first - here):
            j += 1
    while ours[i] < FAR or theirs[j] < FAR:
        gap = abs(ours[i] - theirs[j])
        test_first = theirs[j] < ours[i]
        rival = abs(ours[i] - theirs[j + 1]) if test_first else abs(ours[i + 1] - theirs[j])
        if gap <= width and (gap < rival or abs(ours[i + 1] - theirs[j + 1]) < rival):
            made.append((i, j))
            i, j = i + 1, j + 1
        elif test_first:
            if not _inside(theirs[j], reference.flutter):
                made.append((UNREAD if _inside(theirs[j], reference.shutdown) else ALONE, j))
            j += 1
        else:
            made.append((i, UNREAD if _inside(ours[i], test.shutdown) else ALONE))
            i += 1
    pairs = np.array(made, dtype=np.int64).reshape(-1, 2)
    return Pairs(pairs[:, 0], pairs[:, 1])


def _inside(sample: int, stretches: Integers) -> bool:
    return bool(((stretches[:, 0] <= sample) & (sample <= stretches[:, 1])).any())
