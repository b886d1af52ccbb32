"""What a recording's files say of its person, taken out before they are kept.

The samples keep their bytes. What is not looked at: the names of files and leads, and the column of
times of a CSV table, without which there is no sampling rate.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from retrace.deploy.readers.common import refusal
from retrace.files import new_file
from retrace.service import labels

LARGEST_HEADER = 64 << 10  # bytes of a .hea; 64 leads and 128 segments take a tenth
LARGEST_RECORD = 16 << 20  # bytes of an EDF data record; likewise
ONSET = 64  # bytes at the start of a data record that may tell its time
BLOCK = 4 << 20  # bytes that are looked at together
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # of the fields of each EDF signal
_LENGTHS = 8  # which of them tells the samples in a data record
_DIGITS = np.frombuffer(b"+-.0123456789", np.uint8)
_BEFORE = b"\xef\xbb\xbf \t\"'"  # what may stand before the # of a line


def strip(path: Path) -> None:
    """Take the comments out of a file, in place; what is no such file is left as it is.

    .hea: lines of comment, and the time and date of the start. EDF: the fields of patient and
    recording, date, time and annotations. .csv and .tsv: lines that begin with #. .atr: free text.
    """
    take_out = _KINDS.get(path.suffix.lower())
    if take_out:
        take_out(path)


def _header(path: Path) -> None:
    with path.open("rb") as stream:
        content = stream.read(LARGEST_HEADER + 1)
    if len(content) > LARGEST_HEADER:
        raise refusal(path, f"more than {LARGEST_HEADER} bytes of header: divide the recording")
    lines = [line.strip() for line in content.split(b"\n")]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    if lines:  # name, signals, rate, samples; then follow time and date
        lines[0] = b" ".join(lines[0].split()[:4])
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def _annotations(path: Path) -> None:
    path.write_bytes(labels.without_notes(labels.read(path)))


def _table(path: Path) -> None:
    with path.open("rb") as stream:
        if not any(b"#" in block for block in iter(lambda: stream.read(BLOCK), b"")):
            return  # nearly always
        stream.seek(0)
        with new_file(path) as part, part.open("wb") as kept:
            whole, comment = True, False  # of a line too long, only a part is read at a time
            for piece in iter(lambda: stream.readline(BLOCK), b""):
                comment = piece.lstrip(_BEFORE).startswith(b"#") if whole else comment
                whole = piece.endswith(b"\n")
                if not comment:
                    kept.write(piece)


def _edf(path: Path) -> None:
    with path.open("r+b") as stream:
        main = stream.read(256)
        plus = main[192:196] == b"EDF+"
        if len(main) < 256 or main[:8].strip() != b"0":
            return
        stream.seek(8)
        stream.write(f"{'X X X X' if plus else '':<80}".encode())
        stream.write(f"{'Startdate X X X X' if plus else '':<80}".encode())
        stream.write(b"01.01.8500.00.00")
        count = _whole(path, main[252:256])
        stream.seek(256)
        header = stream.read(256 * count)
    before = sum(_WIDTHS[:_LENGTHS]) * count
    lengths = [_whole(path, header[before + 8 * n :][:8]) for n in range(count)]
    width, offset = 2 * sum(lengths), 256 * (count + 1)
    if not 0 < width <= min(path.stat().st_size - offset, LARGEST_RECORD):
        return  # its reader refuses it
    first = True
    for number in range(count):
        if header[16 * number :][:16].strip(b"\0 ") == b"EDF Annotations":
            start = 2 * sum(lengths[:number])
            _silence(path, offset, width, slice(start, start + 2 * lengths[number]), first)
            first = False


def _silence(path: Path, offset: int, width: int, place: slice, timed: bool) -> None:
    """Empty a signal of annotations. Where `timed`, each data record keeps the time of its start,
    which stands first in it: +12.5, two bytes of 20, a zero."""
    records = (path.stat().st_size - offset) // width
    at_once = max(1, BLOCK // width)
    for start in range(0, records, at_once):
        shape = min(at_once, records - start), width
        text = np.memmap(path, np.uint8, "r+", offset + start * width, shape)[:, place]
        head = text[:, :ONSET].copy()
        text[:] = 0
        if timed and head.shape[1] > 2:
            rows, end = np.arange(len(head)), np.isin(head[:, :-1], _DIGITS).argmin(axis=1)
            well = (head[rows, end] == 20) & (head[rows, end + 1] == 20)
            kept = np.arange(head.shape[1]) <= np.where(well, end + 1, -1)[:, None]
            text[:, :ONSET] = np.where(kept, head, 0)


def _whole(path: Path, field: bytes) -> int:
    text = field.strip(b"\0 ")
    if not re.fullmatch(rb"\+?\d{1,8}", text):
        raise refusal(path, "no EDF file that can be read; it must be whole: obtain it again")
    return int(text)


_KINDS: dict[str, Callable[[Path], None]] = {
    ".hea": _header,
    ".atr": _annotations,
    ".csv": _table,
    ".tsv": _table,
    ".edf": _edf,
}
