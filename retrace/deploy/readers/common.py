"""What all readers share: limits, units, refusals, and reading an ordinary file in pieces."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrace.errors import InputError

LEADS = 64
DAYS = 14
LOWEST, HIGHEST = 20.0, 10_000.0  # Hz; an hour at once stands in memory
PIECE = 1 << 16  # samples of a lead that are decoded at once: they stay in the processor's cache
MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "\u00b5V": 1e-3, "\u03bcV": 1e-3, "V": 1e3, "nV": 1e-6}
WIDEST = 50.0  # mV; more than that no ECG spans in two seconds, even with a pacemaker


@dataclass(kw_only=True)
class FileRecording:
    """A recording in a file; see `inputs.Recording`. Each format says how a piece is decoded."""

    name: str
    path: Path
    fs: float
    leads: tuple[str, ...]
    samples: int
    beats: NDArray[np.int64] | None = None
    age: float | None = None
    sex: str | None = None

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
        """Samples start:stop of the leads `rows`: (len(rows), stop - start) in mV.

        What is no number in the file, or marked there as invalid, is NaN. Raises InputError where
        the file cannot be read, or is no longer what it was.
        """
        if not 0 <= start <= stop <= self.samples:
            raise ValueError(f"samples {start}:{stop} of {self.samples}")
        signal = np.empty((len(rows), stop - start), np.float32)
        with np.errstate(all="ignore"):  # hostile numbers: what overflows is no number
            for first in range(start, stop, PIECE):
                last = min(first + PIECE, stop)
                signal[:, first - start : last - start] = self.piece(first, last, rows)
            signal[~np.isfinite(signal)] = np.nan
        return signal

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        """The same for at most `PIECE` samples, of any kind of float."""
        raise NotImplementedError


def printable(text: str) -> str:
    """Text for one line: a file name or a header may hold anything."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def quoted(value: str) -> str:
    """A value of a file in quotes, and no more of it than fits into a sentence."""
    return repr(value if len(value) <= 40 else value[:40] + "...")


def refusal(path: Path, why: str) -> InputError:
    """That a file cannot be used, in one sentence on one line."""
    named = str(path)
    if len(named) > 300:
        named = f"{named[:100]}...{named[-100:]}"
    return InputError(printable(f"{named}: {why}"))


def opened(path: Path) -> BinaryIO:
    """An ordinary file (links are followed), opened for reading.

    Raises InputError for what is missing or forbidden, and for folders, pipes and devices: a pipe
    would be waited for, and a device never ends.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise refusal(
            path, f"{reason}; it must be a file that you may read: correct the path"
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refusal(
            path, "no ordinary file; pipes, devices and folders hold no recording: name a file"
        )
    return os.fdopen(handle, "rb")


def size_of(path: Path) -> int:
    """Bytes of an ordinary file that has at least one; InputError for any other."""
    with opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise refusal(path, "empty; a recording has samples: obtain the file again")
    return size


def numbers(path: Path, dtype: DTypeLike, count: int, offset: int) -> NDArray[Any]:
    """`count` numbers from byte `offset` on; InputError where the file has fewer."""
    with opened(path) as stream:
        found: NDArray[Any] = np.fromfile(stream, dtype, count, offset=offset)
    if len(found) < count:
        raise refusal(
            path, "ends too early; it must stay whole while it is read: obtain the file again"
        )
    return found


def rate(path: Path, found: float, given: float | None) -> float:
    """The sampling rate in a file, which `given` (--fs) may only confirm."""
    if not LOWEST <= found <= HIGHEST:
        raise refusal(
            path,
            f"{found:g} Hz; a sampling rate is from {LOWEST:g} to {HIGHEST:g} Hz: correct it in "
            "the file",
        )
    if given is not None and abs(given / found - 1) > 1e-3:
        raise refusal(
            path, f"--fs {given:g}, but the file says {found:g} Hz; they must agree: omit --fs"
        )
    return float(found)


def check_size(path: Path, leads: int, samples: int, fs: float) -> None:
    """Refuse a recording of no lead or sample, or of more than a recorder would write."""
    if not 1 <= leads <= LEADS:
        raise refusal(path, f"{leads} leads; from 1 to {LEADS} are read: leave out what is no ECG")
    if samples < 1:
        raise refusal(path, "no sample; a recording has at least one: obtain the file again")
    if samples / fs > DAYS * 86400:
        raise refusal(
            path, f"{samples / fs / 86400:.1f} days; at most {DAYS} are read at once: cut it"
        )


def voltages(path: Path, units: list[str]) -> list[int]:
    """Which of the signals with these units are voltages; InputError where none is."""
    rows = [row for row, unit in enumerate(units) if unit in MILLIVOLTS]
    if not rows:
        raise refusal(
            path,
            f"unit {quoted(units[0] if units else '')}; an ECG is a voltage in mV, uV or V: "
            "correct the unit in the file",
        )
    return rows


def plausible(path: Path, start: NDArray[np.float32], fs: float) -> list[int]:
    """Which leads may be millivolts, by their first samples `start` (leads, n) at `fs` Hz.

    For files that name no unit: counts of a converter and microvolts are a hundred times as large.
    What counts is the median over stretches of two seconds: artefacts and a slow wander may reach
    anywhere. Raises InputError where no lead is.
    """
    length = min(start.shape[1], round(2 * fs))
    stretches = start[:, : start.shape[1] // length * length].reshape(len(start), -1, length)
    spans = np.zeros(len(start))
    for row, values in enumerate(np.ptp(stretches.astype(np.float64), axis=2)):
        if (known := values[np.isfinite(values)]).size:
            spans[row] = np.median(known)
    rows = [row for row, span in enumerate(spans.tolist()) if span <= WIDEST]
    if not rows:
        raise refusal(
            path,
            f"values that span {spans.min():.4g} in two seconds; in mV an ECG spans less than "
            f"{WIDEST:g}: convert the numbers to mV (a CSV header may name the unit: MLII (uV))",
        )
    return rows
