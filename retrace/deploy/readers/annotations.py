"""The annotated beats of a WFDB record.

A decoder of our own: the day of a patient has 100,000 annotations, which wfdb reads one by one.
Format: https://physionet.org/physiotools/wag/annot-5.htm
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import numbers, opened, refusal, size_of
from retrace.errors import InputError

LARGEST = 16 << 20  # bytes; two weeks of beats with a note each take half of it
# The codes of the symbols in `signals.records.BEATS`.
BEAT_CODES = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41])
_LAST, _SKIP, _AUX = 41, 59, 63  # the last code with a meaning; a jump in time; a note
_RESOLUTION = re.compile(rb"## time resolution: ([1-9]\d{0,5}(?:\.\d{1,6})?)")


def read_beats(path: Path, fs: float, samples: int, ticks: float) -> NDArray[np.int64]:
    """Sample indices of the beats in an annotation file (.atr), of a record of `samples` at `fs`.

    ticks: Hz of the times in the file, unless it names another rate itself. Raises InputError
    where it is damaged, or belongs to another recording.
    """
    size = size_of(path)
    if size > LARGEST or size % 2:
        raise _damaged(path, f"{size} bytes; at most {LARGEST}, two by two")
    words = numbers(path, "<u2", size // 2, 0)
    codes, intervals = words >> 10, (words & 1023).astype(np.int64)
    mark = np.ones(len(words), bool)  # the words that are annotations, not what belongs to one
    mark[codes > _SKIP] = False
    end = 0
    for place in np.flatnonzero((codes == _SKIP) | (codes == _AUX)).tolist():
        if place < end:  # it lies within a note
            continue
        if (words[end:place] == 0).any():  # the end of the annotations
            break
        if codes[place] == _SKIP:
            end = place + 3
            if end > len(words):
                raise _damaged(path, "it ends within a jump in time")
            high, low = words[place + 1 : end].tolist()
            jump = high << 16 | low
            intervals[place] = jump - (1 << 32 if jump >= 1 << 31 else 0)
        else:
            end = place + 1 + (int(intervals[place]) + 1) // 2
            intervals[place] = 0
        mark[place:end] = False
        intervals[place + 1 : end] = 0
    over = np.flatnonzero(mark & (words == 0))
    if not over.size or (over[0] == 0 and len(words) > 1):
        raise _damaged(path, "it does not end where an annotation file ends")
    mark[over[0] :] = False
    found = codes[mark]
    if (found > _LAST).any():
        raise _damaged(path, "an annotation is of no known kind")
    intervals[~mark & (codes != _SKIP)] = 0
    times = np.cumsum(intervals)[mark]
    if (np.diff(times, prepend=0) < 0).any():
        raise _damaged(path, "annotations are not in the order of time")
    beats: NDArray[np.float64] = np.rint(
        times[np.isin(found, BEAT_CODES)] * (fs / _ticks(path, ticks))
    )
    if beats.size and beats[-1] >= samples:
        raise _damaged(path, f"a beat at sample {beats[-1]:.0f} of {samples}")
    return np.asarray(beats, np.int64)


def _ticks(path: Path, usual: float) -> float:
    """The rate in the note that opens a file whose times are finer than the samples."""
    with opened(path) as stream:
        found = _RESOLUTION.search(stream.read(64))
    return float(found[1]) if found else usual


def _damaged(path: Path, why: str) -> InputError:
    return refusal(
        path,
        f"no annotations that can be read ({why}); they must be those of the record: obtain the "
        "file again, or remove it and let R peaks be found",
    )
