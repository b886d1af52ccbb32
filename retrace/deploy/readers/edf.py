"""EDF and continuous EDF+ files, a piece at a time.

Format: https://www.edfplus.info/specs/edf.html and https://www.edfplus.info/specs/edfplus.html
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import (
    MILLIVOLTS,
    FileRecording,
    check_size,
    numbers,
    opened,
    quoted,
    rate,
    refusal,
    size_of,
    voltages,
)
from retrace.errors import InputError

SIGNALS = 512  # more than any recorder has, night laboratories included
LARGEST = 16 << 20  # bytes of a data record, hundreds of times what the format advises
AT_ONCE = 8 << 20  # bytes read at once: the signals that are left out lie between
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # of the fields of each signal
_ECG = re.compile(r"e[ck]g\b[\s:_-]*", re.IGNORECASE)
_BORN = re.compile(r"\d\d-[A-Z]{3}-\d{4}")


@dataclass(frozen=True)
class _Signal:
    """A signal that is read. start: of its first sample in a data record, counted in samples."""

    lead: str
    unit: str
    start: int
    length: int
    low: int
    gain: float
    bottom: float


@dataclass(kw_only=True)
class EdfRecording(FileRecording):
    """signals: those of `leads`. offset: of the first data record, width: samples of each."""

    signals: tuple[_Signal, ...]
    offset: int
    width: int

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        length = self.signals[0].length
        signal = np.empty((len(rows), -(-stop // length) - start // length, length))
        step = max(1, AT_ONCE // (2 * self.width))
        for first in range(0, signal.shape[1], step):
            records = min(step, signal.shape[1] - first)
            place = self.offset + 2 * self.width * (start // length + first)
            block = numbers(self.path, "<i2", records * self.width, place)
            block = block.reshape(records, self.width)
            for values, row in zip(signal, rows, strict=True):
                one = self.signals[row]
                digital = block[:, one.start : one.start + length].astype(np.float64)
                physical = (digital - one.low) * one.gain + one.bottom
                values[first : first + records] = physical * MILLIVOLTS[one.unit]
        flat = signal.reshape(len(rows), -1)
        return flat[:, start % length : start % length + stop - start]


def open_edf(path: Path, fs: float | None) -> EdfRecording:
    """The ECG in an EDF or EDF+C file.

    Leads are the voltages whose label begins with ECG or EKG, which is cut off ("ECG MLII" is
    MLII); where there is no such label, all voltages; of several rates, those of the highest.
    Raises InputError where the file is another one, or not whole.
    """
    size = size_of(path)
    with opened(path) as stream:
        main = stream.read(256)
        count = _check_main(path, main)
        rest = stream.read(256 * count)
    try:
        if len(rest) < 256 * count:
            raise ValueError("it ends within its header")
        signals, width = _signals(path, rest, count)
        records, seconds = _integer(main[236:244]), _real(main[244:252])
        if not 1 <= 2 * width <= LARGEST or not seconds > 0:
            raise ValueError(f"data records of {2 * width} bytes and {seconds:g} s")
    except ValueError as error:
        raise _no_edf(path, str(error)) from None
    offset = 256 * (count + 1)
    if records == -1:  # the recorder was not told to stop
        records = (size - offset) // (2 * width)
    if size != (needed := offset + records * 2 * width):
        raise refusal(
            path,
            f"{size} bytes; it must be whole, and has {needed} by its header: obtain it again",
        )
    length = signals[0].length
    found = rate(path, length / seconds, fs)
    check_size(path, len(signals), records * length, found)
    age, sex = _person(main)
    return EdfRecording(
        name=path.stem,
        path=path,
        fs=found,
        leads=tuple(signal.lead for signal in signals),
        samples=records * length,
        age=age,
        sex=sex,
        signals=signals,
        offset=offset,
        width=width,
    )


def _check_main(path: Path, main: bytes) -> int:
    """Refuse what is no continuous EDF; how many signals there are."""
    if main[:8] == b"\xffBIOSEMI" or main[192:195] == b"BDF":
        raise refusal(path, "BDF, with 24 bits a sample; EDF has 16: convert it to EDF")
    if len(main) < 256 or main[:8].strip() != b"0":
        raise _no_edf(path, "it does not begin as EDF does")
    if main[192:197] == b"EDF+D":
        raise refusal(
            path, "EDF+D, with gaps between its data records; times must go on: save it as EDF+C"
        )
    try:
        count = _integer(main[252:256])
        if not 1 <= count <= SIGNALS or _integer(main[184:192]) != 256 * (count + 1):
            raise ValueError(f"{count} signals in a header of {quoted(_text(main[184:192]))} bytes")
    except ValueError as error:
        raise _no_edf(path, str(error)) from None
    return count


def _signals(path: Path, header: bytes, count: int) -> tuple[tuple[_Signal, ...], int]:
    """The signals that are read, and the samples of all in a data record."""
    ends = list(accumulate(width * count for width in _WIDTHS))
    columns = [
        [header[end - width * count :][place * width :][:width] for place in range(count)]
        for end, width in zip(ends, _WIDTHS, strict=True)
    ]
    labels, units = ([_text(field) for field in columns[number]] for number in (0, 2))
    lengths = [_integer(field) for field in columns[8]]
    if min(lengths) < 0:
        raise ValueError(f"{min(lengths)} samples in a data record")
    starts = list(accumulate(lengths, initial=0))
    ecg = [row for row, label in enumerate(labels) if _ECG.match(label)]
    rows = ecg or [row for row, label in enumerate(labels) if label != "EDF Annotations"]
    rows = [rows[place] for place in voltages(path, [_known(units[row]) for row in rows])]
    highest = max(lengths[row] for row in rows)
    found = []
    for row in rows:
        if lengths[row] != highest:
            continue
        bottom, top = _real(columns[3][row]), _real(columns[4][row])
        low, high = _integer(columns[5][row]), _integer(columns[6][row])
        if not low < high or bottom == top:
            raise ValueError(f"{labels[row]!r} from {low} to {high} is {bottom:g} to {top:g}")
        lead = _ECG.sub("", labels[row]) or labels[row] or str(row + 1)
        gain = (top - bottom) / (high - low)
        found.append(_Signal(lead, _known(units[row]), starts[row], highest, low, gain, bottom))
    return tuple(found), starts[-1]


def _person(main: bytes) -> tuple[float | None, str | None]:
    """Age in years and sex, as EDF+ writes them: "code F 02-MAY-1951 name"."""
    words, begun = _text(main[8:88]).split(), _text(main[88:168]).split()
    sex = words[1] if len(words) > 1 and words[1] in ("F", "M") else None
    born = _day(words[2]) if len(words) > 2 else None
    day = _day(begun[1]) if len(begun) > 1 and begun[0] == "Startdate" else None
    years = (day - born).days / 365.25 if born and day else -1.0
    return (float(int(years)) if 0 <= years < 130 else None), sex


def _day(word: str) -> date | None:
    try:
        return datetime.strptime(word, "%d-%b-%Y").date() if _BORN.fullmatch(word) else None
    except ValueError:
        return None


def _known(unit: str) -> str:
    """A unit in the case of `MILLIVOLTS`: recorders write UV and mv too."""
    return next((known for known in MILLIVOLTS if known.lower() == unit.lower()), unit)


def _text(field: bytes) -> str:
    return field.decode("latin-1").strip("\0 ")


def _integer(field: bytes) -> int:
    if not re.fullmatch(r"[-+]?\d{1,8}", _text(field), re.ASCII):
        raise ValueError(f"{quoted(_text(field))} where a whole number stands")
    return int(_text(field))


def _real(field: bytes) -> float:
    text = _text(field)
    if not re.fullmatch(r"[-+.\deE]{1,8}", text, re.ASCII) or not abs(float(text)) < 1e15:
        raise ValueError(f"{quoted(text)} where a number stands")
    return float(text)


def _no_edf(path: Path, reason: str) -> InputError:
    return refusal(
        path, f"no EDF file that can be read ({reason}); it must be whole: obtain the file again"
    )
