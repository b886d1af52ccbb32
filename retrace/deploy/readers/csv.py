"""CSV tables of samples: one line for each, one column for each lead.

Read once, a megabyte at a time, into a table of numbers: in memory while it is small, else in a
temporary file that is gone with the process.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import (
    LEADS,
    MILLIVOLTS,
    PIECE,
    FileRecording,
    check_size,
    opened,
    plausible,
    quoted,
    rate,
    refusal,
    size_of,
    voltages,
)
from retrace.deploy.readers.csv_header import (
    MISSING,
    Clock,
    Columns,
    columns,
    dotted,
    fields,
    is_number,
    seconds,
)
from retrace.errors import InputError

BLOCK = 1 << 20  # bytes read at once
LONGEST = 1 << 14  # bytes of a line: 64 leads with every digit of a float take a tenth
IN_MEMORY = 64 << 20  # bytes of the table of numbers


@dataclass(kw_only=True)
class CsvRecording(FileRecording):
    """The samples as float32 in `table`, one row of `width` each. kept: the columns of `leads`,
    factors: from their units to mV."""

    table: IO[bytes]
    width: int
    kept: tuple[int, ...]
    factors: tuple[float, ...]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        self.table.seek(4 * self.width * start)
        block = self.table.read(4 * self.width * (stop - start))
        values = np.frombuffer(block, np.float32).reshape(-1, self.width)
        signal = values[:, [self.kept[row] for row in rows]].T
        return np.asarray(signal * np.array([[self.factors[row]] for row in rows]))


def open_csv(path: Path, fs: float | None) -> CsvRecording:
    """A table of numbers between commas, semicolons or tabs, in mV unless its header says else.

    A first column named time, t or alike gives the sampling rate, one named sample or index is
    left out; without times `fs` (Hz) is needed. A field that is empty or "nan" is a missing
    sample. Raises InputError where a line is none of these.
    """
    size = size_of(path)
    table = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - it lives as long as the recording
    try:
        with opened(path) as stream:
            layout, clock = _convert(path, _blocks(path, stream, size), table)
        recording = _recording(path, layout, clock, fs, table)
    except BaseException:
        table.close()
        raise
    weakref.finalize(recording, table.close)
    return recording


def _recording(
    path: Path, layout: Columns, clock: Clock, fs: float | None, table: IO[bytes]
) -> CsvRecording:
    samples = table.tell() // (4 * layout.width)
    found = _rate(path, layout, clock, fs)
    check_size(path, len(layout.names), samples, found)
    units = [unit or "mV" for unit in layout.units]
    recording = CsvRecording(
        name=path.stem,
        path=path,
        fs=found,
        leads=layout.names,
        samples=samples,
        table=table,
        width=layout.width,
        kept=tuple(range(layout.width - len(units), layout.width)),
        factors=tuple(MILLIVOLTS.get(unit, 1.0) for unit in units),
    )
    _keep(recording, voltages(path, units))
    if not any(layout.units):
        start = recording.read(0, min(samples, PIECE), tuple(range(len(recording.leads))))
        _keep(recording, plausible(path, start, found))
    return recording


def _keep(recording: CsvRecording, rows: list[int]) -> None:
    recording.leads = tuple(recording.leads[row] for row in rows)
    recording.kept = tuple(recording.kept[row] for row in rows)
    recording.factors = tuple(recording.factors[row] for row in rows)


def _rate(path: Path, layout: Columns, clock: Clock, fs: float | None) -> float:
    if layout.first == "time":
        try:
            return rate(path, clock.rate(fs), fs)
        except ValueError as error:
            raise refusal(
                path,
                f"no sampling rate in its times ({error}): remove the column and give --fs",
            ) from None
    if layout.first == "sample" and {clock.shortest, clock.longest} - {1.0} and clock.count > 1:
        raise refusal(
            path,
            f"sample numbers in steps from {clock.shortest:g} to {clock.longest:g}; they must "
            "count by one: complete the table",
        )
    if fs is None:
        raise refusal(
            path, "no column of times; the sampling rate must be known: give it with --fs"
        )
    return rate(path, fs, None)


def _blocks(path: Path, stream: BinaryIO, size: int) -> Iterator[list[str]]:
    """Whole lines of the first `size` bytes, about a megabyte at a time."""
    rest = b""
    while size > 0 and (chunk := stream.read(min(BLOCK, size))):
        size -= len(chunk)
        if b"\0" in chunk:
            raise refusal(path, "no text; a CSV table is UTF-8 text: save it as such")
        whole, _, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > LONGEST:
            raise _line_too_long(path)
        if whole:
            yield _decoded(whole).split("\n")
    if rest.strip():
        yield [_decoded(rest)]


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _line_too_long(path: Path) -> InputError:
    return refusal(
        path,
        f"a line of more than {LONGEST} bytes; each line is one sample of every lead: transpose "
        "the table, or save it as text",
    )


def _convert(path: Path, blocks: Iterator[list[str]], table: IO[bytes]) -> tuple[Columns, Clock]:
    """Write the samples into `table`; what its columns are, and what the times say."""
    layout: Columns | None = None
    clock = Clock(grain=0.0)
    number = 1  # of the first line in a block
    for block in blocks:
        lines = block
        if layout is None:
            blank = next((place for place, line in enumerate(block) if line.strip()), len(block))
            lines = block[blank:]
            if not lines:
                number += len(block)
                continue
            layout = _columns(path, lines[:2])
            lines = lines[layout.lines :]
            clock.grain = _grain(lines[:100], layout)
        values = _values(path, lines, layout, number + len(block) - len(lines))
        number += len(block)
        if not len(values):
            continue
        if layout.first != "lead":
            try:
                clock.add(values[:, 0] / layout.ticks)
            except ValueError as error:
                raise refusal(
                    path, f"{error} before line {number}; each sample has one: complete the table"
                ) from None
        with np.errstate(over="ignore"):  # what overflows is no number
            table.write(values.astype(np.float32).tobytes())
    if layout is None:
        raise refusal(path, "no line with numbers; a recording has samples: obtain it again")
    return layout, clock


def _columns(path: Path, lines: list[str]) -> Columns:
    if max(map(len, lines)) > LONGEST:
        raise _line_too_long(path)
    try:
        layout = columns(lines)
    except ValueError as error:
        raise refusal(path, f"{error}: correct its first lines") from None
    if not 1 <= len(layout.names) <= LEADS:
        raise refusal(
            path,
            f"{len(layout.names)} columns of samples; from 1 to {LEADS} leads are read, a line for "
            "each sample: transpose the table, or save segments as .npy",
        )
    return layout


def _grain(lines: list[str], layout: Columns) -> float:
    """Half of the last decimal place of the first times, in s."""
    words = [dotted(fields(line, layout.delimiter)[0], layout.delimiter) for line in lines]
    places = max((len(word.partition(".")[2].strip("]")) for word in words), default=0)
    return 0.5 * 10.0 ** -min(places, 12) / layout.ticks


def _values(path: Path, lines: list[str], layout: Columns, number: int) -> NDArray[np.float64]:
    """The numbers in these lines, of which the first is line `number` of the file."""
    lines = [dotted(line, layout.delimiter) for line in lines]
    if not any(map(str.strip, lines)):
        return np.empty((0, layout.width))
    try:
        values: NDArray[np.float64] = np.loadtxt(
            lines,
            delimiter=layout.delimiter,
            ndmin=2,
            comments=None,
            converters={0: seconds} if layout.first == "time" and ":" in lines[0] else None,
        )
        if values.shape[1] == layout.width:
            return values
    except (ValueError, IndexError):
        pass  # a missing sample, a quoted one or a wrong line: find out which
    found = []
    for place, line in enumerate(lines, start=number):
        words = fields(line, layout.delimiter)
        if words == [""]:
            continue
        if len(words) == layout.width + 1 and words[-1] == "":
            words.pop()
        if len(words) != layout.width:
            raise refusal(
                path,
                f"line {place} has {len(words)} fields; each must have {layout.width}: complete it",
            )
        found.append([_number(path, word, place) for word in words])
    return np.array(found).reshape(-1, layout.width)


def _number(path: Path, word: str, place: int) -> float:
    if not is_number(word):
        raise refusal(
            path, f"line {place} has {quoted(word)}; a sample is a number: correct the line"
        )
    return np.nan if word.lower() in MISSING else seconds(word)
