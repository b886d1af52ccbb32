"""Cutting filtered recordings into segments of equal length: windows, or beats."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import CsvWriter, NpyWriter
from retrace.signals.beats import cut_beats
from retrace.signals.plan import BEAT_FEATURES, Plan
from retrace.signals.records import BEATS, Record
from retrace.signals.resampling import resample
from retrace.signals.rpeaks import detect
from retrace.signals.scaling import lively, normalised

SEGMENT_COLUMNS = ("segment_id", "record_id", "patient_id", "start", "label")
BEAT_COLUMNS = ("sample", "symbol", *BEAT_FEATURES)
SHORTEST = 10.0  # s of a recording in which beats are looked for; less may be a beat, cut already


@dataclass(frozen=True)
class Pieces:
    """The segments of one recording.

    starts: (k,) s. windows: (k, leads, samples). labels: k. beats: k rows of `BEAT_COLUMNS`, or
    none. flat: how many were left out because a lead does not change; unused: how many beats
    because they lie at an end or their kind has no class. padded, short: whether the recording was
    completed with zeros, or too short for a single segment.
    """

    starts: list[float]
    windows: NDArray[np.float32]
    labels: list[str | None]
    beats: list[tuple[Any, ...]] = field(default_factory=list)
    flat: int = 0
    padded: bool = False
    short: bool = False
    unused: int = 0


@dataclass
class Cutting:
    """What became of the recordings, for the line that the stage prints."""

    labels: Counter[str] = field(default_factory=Counter)
    records: int = 0
    padded: int = 0
    too_short: int = 0
    flat: int = 0
    unused: int = 0
    samples: int = 0
    fs: float = 0.0

    def add(self, pieces: Pieces) -> None:
        """Count one recording."""
        self.records += 1
        self.padded += pieces.padded
        self.too_short += pieces.short
        self.flat += pieces.flat
        self.unused += pieces.unused
        self.labels.update(str(label) for label in pieces.labels)

    def summary(self) -> str:
        """Segments, their size, the share of each class, and what was padded or left out."""
        total = self.labels.total()
        shares = ", ".join(
            f"{label} {count} ({count / total:.1%})" for label, count in self.labels.items()
        )
        return (
            f"{total} segments of {self.samples} samples from {self.records} records: {shares}; "
            f"{self.padded} padded; left out: {self.too_short} records shorter than a window, "
            f"{self.flat} flat segments"
            + (f", {self.unused} beats at an end or without a class" if self.unused else "")
        )


def cut(
    signal: NDArray[np.float32], window: int, hop: int, short: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Windows of `window` samples every `hop` samples of (leads, samples).

    Returns the starts (k,) and the windows (k, leads, window). What is left at the end is not
    used. A signal shorter than one window gives none (`short="drop"`) or one, completed with
    zeros (`short="pad"`): zero is the mean of a band-passed signal.
    """
    samples = signal.shape[1]
    if samples < window:
        if short == "drop":
            return np.empty(0, np.int64), np.empty((0, len(signal), window), np.float32)
        padded = np.pad(signal, ((0, 0), (0, window - samples)))
        return np.zeros(1, np.int64), padded[None]
    starts = np.arange(0, samples - window + 1, hop, dtype=np.int64)
    views = np.lib.stride_tricks.sliding_window_view(signal, window, axis=1)
    return starts, np.ascontiguousarray(views[:, starts].swapaxes(0, 1))


def pieces(record: Record, plan: Plan, rate: float) -> Pieces:
    """The segments of a filtered recording, at `rate` Hz.

    With anchor "beat", a recording of one window that has a label and no annotated beat is a beat
    already, cut by its publisher.
    """
    samples = plan.samples(rate)
    if plan.anchor == "start":
        return _windows(record, plan, rate)
    if record.label is None or BEATS.intersection(record.symbols):
        return _beats(record, plan, rate)
    seconds = record.signal.shape[1] / record.fs
    if seconds >= SHORTEST:
        return _beats(record, plan, rate)
    if record.fs != rate or record.signal.shape[1] != samples:
        raise InputError(
            f"record {record.record_id}: {record.signal.shape[1]} samples at {record.fs:g} Hz; "
            f"beats are looked for in recordings of at least {SHORTEST:g} s, and a beat that its "
            f"publisher cut must be one window: set segment.window to {seconds:g} and segment.fs "
            "to null in params.yaml"
        )
    return _cut_beat(record, plan)


def _cut_beat(record: Record, plan: Plan) -> Pieces:
    """A beat as its publisher cut it, with zeros behind it."""
    last = np.flatnonzero(record.signal.any(axis=0))[-1:]
    lengths = last + 1 if last.size else np.ones(1, np.int64)
    if not lively(record.signal[None], lengths)[0]:
        if plan.flat == "error":
            raise _flat(record, 0.0, plan.window)
        return Pieces([], record.signal[:0].reshape(0, *record.signal.shape), [], flat=1)
    signal = record.signal[:, : int(lengths[0])]
    window = normalised(record.signal[None], lengths, signal, plan.normalise)
    return Pieces([0.0], window, [record.label])


def _windows(record: Record, plan: Plan, rate: float) -> Pieces:
    if record.label is None:
        raise InputError(
            f"record {record.record_id}: has no label, only its beats have; windows are labelled "
            "as their record is: set segment.anchor to beat in params.yaml"
        )
    signal, samples = resample(record.signal, record.fs, rate), plan.samples(rate)
    starts, windows = cut(signal, samples, max(1, round(plan.hop * rate)), plan.short)
    lengths = np.full(len(starts), min(samples, signal.shape[1]))
    alive = lively(windows, lengths)
    if not alive.all() and plan.flat == "error":
        raise _flat(record, float(starts[np.argmin(alive)]) / rate, plan.window)
    starts, windows = starts[alive], windows[alive]
    return Pieces(
        [start / rate for start in starts.tolist()],
        normalised(windows, lengths[alive], signal, plan.normalise),
        [record.label] * len(starts),
        flat=int((~alive).sum()),
        padded=signal.shape[1] < samples and len(alive) > 0,
        short=len(alive) == 0,
    )


def _beats(record: Record, plan: Plan, rate: float) -> Pieces:
    """The annotated beats, or where nothing is annotated those that are found."""
    found = [n for n, symbol in enumerate(record.symbols) if symbol in BEATS]
    peaks, symbols = record.beats[found], [record.symbols[n] for n in found]
    if not found and record.label is not None:
        peaks = detect(record.signal[0], record.fs)
        symbols = [""] * len(peaks)
    labels = _labels(record, symbols, plan.labels)
    beats = cut_beats(
        record.signal,
        record.fs,
        peaks,
        rate=rate,
        samples=plan.samples(rate),
        window=plan.beat,
        normalise=plan.normalise,
    )
    if len(beats.flat) and plan.flat == "error":
        raise _flat(record, float(peaks[beats.flat[0]]) / record.fs, plan.window)
    named = np.array([labels[row] is not None for row in beats.rows.tolist()], dtype=bool)
    rows = beats.rows[named].tolist()
    return Pieces(
        beats.starts[named].tolist(),
        beats.windows[named],
        [labels[row] for row in rows],
        [
            (
                int(peaks[row]),
                symbols[row] or None,
                *(None if np.isnan(value) else value for value in rr),
            )
            for row, rr in zip(rows, beats.features[named].tolist(), strict=True)
        ],
        flat=len(beats.flat),
        unused=len(peaks) - len(rows) - len(beats.flat),
    )


def _labels(
    record: Record, symbols: list[str], known: Mapping[str, str | None]
) -> list[str | None]:
    """The classes of beats: the recording's own where it has one, else by their symbols."""
    if record.label is not None:
        return [record.label] * len(symbols)
    if unknown := [symbol for symbol in symbols if symbol not in known]:
        raise InputError(
            f"record {record.record_id}: beat symbol {unknown[0]!r}; the map has "
            f"{', '.join(known)}: add it to labels under datasets in params.yaml"
        )
    return [known[symbol] for symbol in symbols]


def _flat(record: Record, second: float, window: float) -> InputError:
    return InputError(
        f"record {record.record_id}: flat from {second:g} s for {window:g} s; a segment needs a "
        "signal in every lead: set segment.flat to drop in params.yaml, or remove the record"
    )


@dataclass(frozen=True)
class _Found:
    """The segments of one recording on their way to disk."""

    record_id: str
    patient_id: str | None
    rate: float
    pieces: Pieces


Mapped = Callable[[Callable[[Record], _Found], Iterable[Record]], Iterator[_Found]]


def _found(record: Record, plan: Plan) -> _Found:
    rate = plan.fs or record.fs
    return _Found(record.record_id, record.patient_id, rate, pieces(record, plan, rate))


def _of_one_rate(recordings: Iterable[Record], plan: Plan) -> Iterator[Record]:
    rate = plan.fs
    for record in recordings:
        rate = rate or record.fs
        if plan.fs is None and record.fs != rate:
            raise InputError(
                f"record {record.record_id}: {record.fs:g} Hz; the others have {rate:g} Hz: "
                "set segment.fs in params.yaml to the rate that all shall have"
            )
        yield record


def write_segments(
    recordings: Iterable[Record], folder: Path, plan: Plan, mapped: Mapped = map
) -> Cutting:
    """Cut every recording and write X.npy (n, leads, samples) float32 and segments.csv.

    mapped: what stands in for the built-in `map`, to cut several at a time.
    """
    counts = Cutting()
    writer: NpyWriter | None = None
    columns = SEGMENT_COLUMNS + (BEAT_COLUMNS if plan.anchor == "beat" else ())
    blank = (None,) * (len(columns) - len(SEGMENT_COLUMNS))
    with ExitStack() as stack:
        table = stack.enter_context(CsvWriter(folder / "segments.csv", columns))
        for one in mapped(partial(_found, plan=plan), _of_one_rate(recordings, plan)):
            counts.fs, counts.samples = float(one.rate), plan.samples(one.rate)
            found = one.pieces
            if writer is None:
                shape = found.windows.shape[1:]
                writer = stack.enter_context(NpyWriter(folder / "X.npy", shape, np.float32))
            counts.add(found)
            writer.append(found.windows)
            table.append(
                (
                    f"{one.record_id}_{number:03d}",
                    one.record_id,
                    one.patient_id,
                    start,
                    label,
                    *(found.beats[number] if found.beats else blank),
                )
                for number, (start, label) in enumerate(
                    zip(found.starts, found.labels, strict=True)
                )
            )
    if not counts.labels.total() and plan.anchor == "beat":
        raise InputError(
            f"segment.anchor: beat; none of the {counts.records} recordings has a beat that can be "
            "cut and that labels under datasets names: correct the map, or shorten segment.window "
            "in params.yaml"
        )
    if not counts.labels.total():
        raise InputError(
            f"segment.window: {plan.window:g} s; none of the {counts.records} recordings is that "
            "long: shorten it or set segment.short to pad in params.yaml"
        )
    return counts
