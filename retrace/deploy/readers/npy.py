""".npy files: a signal, or segments as a model takes them. Nothing is ever unpickled.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import (
    LEADS,
    PIECE,
    FileRecording,
    check_size,
    numbers,
    opened,
    plausible,
    rate,
    refusal,
    size_of,
)

LONGEST_HEADER = 10_000  # bytes; NumPy's own limit
MOST_VALUES = 1 << 28  # of segments, which stand in memory: a gigabyte
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class _Array:
    """What a header says. offset: of the first value."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


@dataclass(kw_only=True)
class NpySignal(FileRecording):
    """A signal, of which pieces are read. kept: where the leads stand in the file.

    together: whether the leads of one sample stand beside each other in the file, and not the
    samples of one lead.
    """

    dtype: np.dtype[Any]
    offset: int
    together: bool
    stored: int
    kept: tuple[int, ...]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        wanted = [self.kept[row] for row in rows]
        if self.together:
            count, first = self.stored * (stop - start), self.stored * start
            block = self._values(first, count).reshape(-1, self.stored)
            return np.asarray(block[:, wanted].T)
        lines = [self._values(row * self.samples + start, stop - start) for row in wanted]
        return np.array(lines).reshape(len(rows), stop - start)

    def _values(self, first: int, count: int) -> NDArray[Any]:
        return numbers(self.path, self.dtype, count, self.offset + first * self.dtype.itemsize)


def open_npy(path: Path, fs: float | None) -> NpySignal | NDArray[np.float32]:
    """A signal where the file has one or two axes and `fs` (Hz) is given, else segments.

    A signal is (samples,), (leads, samples) or (samples, leads) in mV; the longer axis is time.
    Segments are (n, leads, samples), (n, leads, scales, frames), or two axes, which get a third in
    front. Raises InputError for any other file, before a value is read.
    """
    array = _header(path)
    if len(array.shape) == 1 and fs is None:
        raise refusal(
            path, "a signal without a sampling rate; a .npy file holds none: give it with --fs"
        )
    if len(array.shape) <= 2 and fs is not None:
        return _signal(path, array, fs)
    return _segments(path, array)


def _signal(path: Path, array: _Array, fs: float) -> NpySignal:
    samples, leads = max(array.shape), math.prod(array.shape) // max(array.shape)
    if len(array.shape) == 2 and (samples <= LEADS or samples == leads):
        raise refusal(
            path,
            f"shape {_text(array)}; which axis is time cannot be told, it must be the longer one "
            f"and longer than {LEADS}: give segments three axes, (n, leads, samples)",
        )
    if leads > LEADS:
        raise refusal(
            path,
            f"shape {_text(array)}; a signal has at most {LEADS} leads: give segments three axes, "
            "(n, leads, samples)",
        )
    time_first = len(array.shape) == 1 or array.shape[0] == samples
    found = rate(path, fs, None)
    check_size(path, leads, samples, found)
    signal = NpySignal(
        name=path.stem,
        path=path,
        fs=found,
        leads=tuple(str(number) for number in range(1, leads + 1)),
        samples=samples,
        dtype=array.dtype,
        offset=array.offset,
        together=time_first != array.fortran,
        stored=leads,
        kept=tuple(range(leads)),
    )
    start = signal.read(0, min(samples, PIECE), signal.kept)
    signal.kept = tuple(plausible(path, start, found))
    signal.leads = tuple(signal.leads[row] for row in signal.kept)
    return signal


def _segments(path: Path, array: _Array) -> NDArray[np.float32]:
    if not 2 <= len(array.shape) <= 4:
        raise refusal(
            path,
            f"shape {_text(array)}; a signal has one or two axes, segments are (n, leads, samples) "
            "or (n, leads, scales, frames): bring it into one of these shapes",
        )
    count = math.prod(array.shape)
    if count > MOST_VALUES:
        raise refusal(
            path, f"{count} values; at most {MOST_VALUES} are taken at once: divide the file"
        )
    values = numbers(path, array.dtype, count, array.offset)
    with np.errstate(over="ignore"):  # what overflows is no number, and refused
        X = values.reshape(array.shape, order="F" if array.fortran else "C").astype(
            np.float32, order="C"
        )
    if not np.isfinite(X).all():
        raise refusal(
            path,
            f"{int((~np.isfinite(X)).sum())} values are no numbers; a segment has none of these: "
            "leave such segments out",
        )
    return X[None] if X.ndim == 2 else X


def _header(path: Path) -> _Array:
    """What the file promises, where it is whole and holds plain numbers."""
    size = size_of(path)
    with opened(path) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            width = 2 if version == (1, 0) else 4
            length = int.from_bytes(stream.read(width), "little")
            if version not in _READERS or length > LONGEST_HEADER:
                raise ValueError(f"version {version}, a header of {length} bytes")
            stream.seek(-width, 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files that Python 2 wrote
                shape, fortran, dtype = _READERS[version](stream)
            if any(type(n) is not int for n in shape):  # True is 1 to NumPy's check
                raise ValueError(f"shape {shape}")
            offset = stream.tell()
        except Exception:  # whatever NumPy makes of a header that is none
            raise refusal(
                path, "no .npy file; it must begin as numpy.save writes it: save it so"
            ) from None
    if dtype.hasobject:
        raise refusal(
            path,
            "pickled objects; they could run anything and are never opened: save plain numbers "
            "with numpy.save",
        )
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise refusal(
            path,
            f"values of type {dtype.name}; real numbers are read: save them as float32",
        )
    array = _Array(shape, dtype, fortran, offset)
    if not shape or min(shape) < 1:
        raise refusal(
            path, f"shape {_text(array)}; each axis has at least one value: save a signal"
        )
    if size != (needed := offset + math.prod(shape) * dtype.itemsize):
        raise refusal(
            path,
            f"{size} bytes; shape {_text(array)} of {dtype.name} needs {needed}: obtain the file "
            "again",
        )
    return array


def _text(array: _Array) -> str:
    text = str(array.shape)
    return text if len(text) <= 60 else f"{text[:60]}..."
