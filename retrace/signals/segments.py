"""Cutting filtered recordings into windows of equal length."""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import CsvWriter, NpyWriter
from retrace.signals.records import Record

# mV from lowest to highest. Behind a filter a lead that is off still rings and rounds, but below
# the noise of any amplifier.
FLAT = 0.01
SEGMENT_COLUMNS = ("segment_id", "record_id", "patient_id", "start", "label")


def resample(signal: NDArray[np.float32], fs: float, to: float) -> NDArray[np.float32]:
    """Change the sampling rate of (leads, samples) from `fs` to `to` Hz.

    Polyphase filtering with SciPy's Kaiser-windowed anti-aliasing filter, along the samples.
    """
    if fs == to:
        return signal
    ratio = Fraction(to).limit_denominator(10_000) / Fraction(fs).limit_denominator(10_000)
    slow = scipy.signal.resample_poly(
        signal.astype(np.float64), ratio.numerator, ratio.denominator, axis=-1
    )
    return slow.astype(np.float32)


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


def standardise(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each window and lead to mean 0 and standard deviation 1; a flat one to zeros."""
    centred = windows - windows.mean(axis=-1, keepdims=True, dtype=np.float64)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True))
    unit: NDArray[np.float32] = centred / np.where(deviation > 0, deviation, 1.0)
    return unit.astype(np.float32)


@dataclass
class Cutting:
    """What became of the recordings, for the line that the stage prints."""

    labels: Counter[str] = field(default_factory=Counter)
    records: int = 0
    padded: int = 0
    too_short: int = 0
    flat: int = 0
    samples: int = 0
    fs: float = 0.0

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
        )


def write_segments(
    recordings: Iterable[Record],
    folder: Path,
    *,
    fs: float | None,
    window: float,
    hop: float,
    short: str,
    flat: str,
    normalise: str,
) -> Cutting:
    """Cut every recording and write X.npy (n, leads, samples) float32 and segments.csv.

    fs: sampling rate of the segments in Hz, None for that of the recordings, which then must
    be one and the same. window, hop: seconds. flat: what to do with a window in which a lead
    spans less than `FLAT`, "error" or "drop".
    """
    counts = Cutting()
    writer: NpyWriter | None = None
    rate = fs
    with ExitStack() as stack:
        table = stack.enter_context(CsvWriter(folder / "segments.csv", SEGMENT_COLUMNS))
        for record in recordings:
            rate = rate or record.fs
            if fs is None and record.fs != rate:
                raise InputError(
                    f"record {record.record_id}: {record.fs:g} Hz; the others have {rate:g} Hz: "
                    "set segment.fs in params.yaml to the rate that all shall have"
                )
            signal = resample(record.signal, record.fs, rate)
            counts.samples = max(1, round(window * rate))
            if writer is None:
                shape = (len(signal), counts.samples)
                writer = stack.enter_context(NpyWriter(folder / "X.npy", shape, np.float32))
            starts, windows = cut(signal, counts.samples, max(1, round(hop * rate)), short)
            counts.records += 1
            counts.too_short += len(starts) == 0
            counts.padded += signal.shape[1] < counts.samples and len(starts) > 0
            lively = (np.ptp(windows, axis=-1) >= FLAT).all(axis=-1)
            if not lively.all() and flat == "error":
                second = starts[np.argmin(lively)] / rate
                raise InputError(
                    f"record {record.record_id}: flat from {second:g} s for {window:g} s; a "
                    "segment needs a signal in every lead: set segment.flat to drop in "
                    "params.yaml, or remove the record"
                )
            counts.flat += int((~lively).sum())
            starts, windows = starts[lively], windows[lively]
            counts.labels[str(record.label)] += len(starts)
            writer.append(standardise(windows) if normalise == "window" else windows)
            table.append(
                (
                    f"{record.record_id}_{number:03d}",
                    record.record_id,
                    record.patient_id,
                    start / rate,
                    record.label,
                )
                for number, start in enumerate(starts.tolist())
            )
    if not counts.labels.total():
        raise InputError(
            f"segment.window: {window:g} s; none of the {counts.records} recordings is that "
            "long: shorten it or set segment.short to pad in params.yaml"
        )
    counts.fs = float(rate or 0)
    return counts
