"""WFDB records, a piece at a time: of one segment, which `wfdb_files` reads, or of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.annotations import read_beats
from retrace.deploy.readers.common import FileRecording, check_size, refusal
from retrace.deploy.readers.wfdb_files import open_segment
from retrace.deploy.readers.wfdb_header import NO_FILE, Header, beside, read_header


@dataclass(frozen=True)
class _Part:
    """A segment from sample `start` of the record on. places: which of its leads are the record's,
    None where it has not that lead."""

    start: int
    recording: FileRecording
    places: tuple[int | None, ...]


@dataclass(kw_only=True)
class Segments(FileRecording):
    """A record of several segments. What lies between them, and leads that one has not, is NaN."""

    parts: tuple[_Part, ...]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        signal = np.full((len(rows), stop - start), np.nan, np.float32)
        for part in self.parts:
            first = max(start, part.start)
            last = min(stop, part.start + part.recording.samples)
            found = [(line, part.places[row]) for line, row in enumerate(rows)]
            known = [(line, place) for line, place in found if place is not None]
            if first < last and known:
                lines, places = zip(*known, strict=True)
                values = part.recording.read(first - part.start, last - part.start, places)
                signal[list(lines), first - start : last - start] = values
        return signal


def open_wfdb(record: Path, fs: float | None) -> FileRecording:
    """The WFDB record `record`, a path without a suffix, with the beats in its .atr.

    Leads are the signals that are voltages; of several rates, those of the highest. Raises
    InputError where files are missing, do not fit each other, or would be read from elsewhere.
    """
    if not beside(record, ".hea").exists():
        raise refusal(
            record, f"{record.name}.hea is missing; a record needs its header: put it beside"
        )
    header = read_header(record)
    open_signals = _segments if header.segments else open_segment
    recording = open_signals(record, header, fs)
    marks = beside(record, ".atr")
    if marks.is_file():
        recording.beats = read_beats(marks, recording.fs, recording.samples, ticks=header.fs)
    recording.age, recording.sex = header.age, header.sex
    return recording


def _segments(record: Path, header: Header, fs: float | None) -> FileRecording:
    opened: dict[str, FileRecording | None] = {}
    placed: list[tuple[int, FileRecording]] = []
    leads: list[str] = []
    rate, start = 0.0, 0
    for name, frames in header.segments:
        # A segment of no length names the leads of the others, which do so themselves.
        if name != NO_FILE and frames:
            if name not in opened:
                opened[name] = _segment(record, header, name, frames, fs)
            if (recording := opened[name]) is not None:
                rate = rate or recording.fs
                if recording.fs != rate:
                    raise refusal(
                        record.with_name(name),
                        f"{recording.fs:g} Hz; the segments of {record.name} have {rate:g} Hz: "
                        "name them one by one",
                    )
                placed.append((start, recording))
                leads += [lead for lead in recording.leads if lead not in leads]
        start += frames
    if not placed:
        raise refusal(record, "no segment with a voltage; an ECG is one: name another record")
    scale = round(rate / header.fs)  # samples in a frame
    check_size(record, len(leads), start * scale, rate)
    return Segments(
        name=record.name,
        path=record,
        fs=rate,
        leads=tuple(leads),
        samples=start * scale,
        parts=tuple(
            _Part(first * scale, recording, _places(leads, recording.leads))
            for first, recording in placed
        ),
    )


def _segment(
    record: Path, header: Header, name: str, frames: int, fs: float | None
) -> FileRecording | None:
    """A segment of the record; None where it has no voltage."""
    segment = record.with_name(name)
    part = read_header(segment)
    if part.segments or part.frames != frames or part.fs != header.fs:
        raise refusal(
            segment,
            f"not one segment of {frames} samples at {header.fs:g} Hz, for which {record.name} "
            "takes it; both headers must fit each other: obtain them again",
        )
    return open_segment(segment, part, fs) if part.has_voltage else None


def _places(wanted: Sequence[str], there: Sequence[str]) -> tuple[int | None, ...]:
    return tuple(there.index(lead) if lead in there else None for lead in wanted)
