"""Whether the files of an upload are one recording, whole, and not too long."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.deploy.readers.common import refusal
from retrace.deploy.readers.wfdb import open_wfdb
from retrace.deploy.readers.wfdb_header import NO_FILE, Header, beside, read_header
from retrace.errors import InputError
from retrace.service.privacy import LARGEST_HEADER
from retrace.service.problems import Problem

SEGMENTS = 128  # of a WFDB record; an upload has fewer files, and gaps may lie between
FRAME = 1 << 16  # samples of all signals in a WFDB frame, which is read as a whole
SKEW = 1 << 10  # samples; wfdb reads and holds so many more
# Values for each byte: 12 bits hold one, FLAC two or three, the rest may be gaps.
DENSITY = 16
TABLE = 64 << 20  # bytes of text; where samples are missing, it takes a second for each megabyte
LONGEST_LEAD = 80  # characters of its name


def examined(
    paths: Sequence[Path], fs: float | None, longest_hours: float
) -> tuple[Path, Recording]:
    """The recording in these files, and which of them it was opened by.

    fs: Hz, where they do not tell it themselves, or must agree.

    Raises Problem 413 for one that is too long, before its samples are read; InputError for files
    that are no recording, or of which one belongs to no recording.
    """
    main = _main(paths)
    if main.suffix == ".hea":
        _examine_headers(main, paths, fs, longest_hours)
    if main.suffix.lower() in (".csv", ".tsv") and main.stat().st_size > TABLE:
        raise Problem(
            413, f"{main.name}: a table of more than {TABLE} bytes: send it as WFDB, EDF or .npy"
        )
    if main.suffix.lower() == ".npy":
        _examine_array(main, fs)
    found = next(open_inputs([main], fs))
    if isinstance(found, Refused):
        raise InputError(found.why)
    if isinstance(found, Ready):
        raise _segments(main)
    _check_hours(found.samples / found.fs, longest_hours)
    for lead in found.leads:
        if len(lead) > LONGEST_LEAD:
            raise InputError(
                f"lead {lead[:40]!r}...; a name has at most {LONGEST_LEAD} characters: shorten it"
            )
    return main, found


def _main(paths: Sequence[Path]) -> Path:
    """The file that the recording is opened by."""
    headers = [path for path in paths if path.suffix == ".hea"]
    for path in headers:
        if path.stat().st_size > LARGEST_HEADER:
            raise refusal(path, f"more than {LARGEST_HEADER} bytes of header: divide the recording")
    if len(headers) > 1:
        headers = [path for path in headers if read_header(path.with_suffix("")).segments]
    tables = [path for path in paths if path.suffix.lower() in (".csv", ".tsv", ".npy", ".edf")]
    if len(headers) + len(tables) != 1 or (tables and len(paths) > 1):
        raise InputError(
            f"{len(paths)} files that are not one recording; an upload is one CSV, .npy or EDF "
            "file, or one .hea with the files it names: send each recording by itself"
        )
    return (headers + tables)[0]


def _examine_headers(
    main: Path, paths: Sequence[Path], fs: float | None, longest_hours: float
) -> None:
    """What headers may promise beyond what their reader checks: it is told to read them, and an
    upload is not trusted so far."""
    record = main.with_suffix("")
    header = read_header(record)
    names = [name for name, _ in header.segments if name != NO_FILE]
    if header.fs > 0:
        _check_hours(header.frames / header.fs, longest_hours)
    if len(header.segments) > SEGMENTS or len(set(names)) < len(names):
        raise InputError(
            f"{main.name}: {len(header.segments)} segments; at most {SEGMENTS}, each "
            "once: join them"
        )
    known = {main.name, beside(record, ".atr").name}
    for each, part in [(record, header), *_parts(record, names)]:
        known |= {beside(each, ".hea").name, *(channel.file for channel in part.channels)}
        _check_frame(each, part)
    spare = sorted({path.name for path in paths} - known)
    if spare:
        raise InputError(
            f"{', '.join(spare[:5])}: not named by {main.name}; a recording is sent with its own "
            "files alone: leave the rest out"
        )
    if header.segments:  # gaps are free to promise, but not to read
        found = open_wfdb(record, fs)
        size = sum(path.stat().st_size for path in paths)
        if found.samples * len(found.leads) > DENSITY * size:
            raise InputError(
                f"{main.name}: {found.samples} samples in {size} bytes; nearly all of it is "
                "a gap: cut it"
            )


def _parts(record: Path, names: Sequence[str]) -> list[tuple[Path, Header]]:
    segments = [record.with_name(name) for name in names]
    missing = [path.name for path in segments if not beside(path, ".hea").is_file()]
    if missing:
        raise InputError(
            f"{', '.join(missing[:5])}: segments of {record.name} without their .hea; a record is "
            "sent whole: send these too"
        )
    return [(path, read_header(path)) for path in segments]


def _check_frame(record: Path, header: Header) -> None:
    width = sum(channel.per_frame for channel in header.channels)
    skew = max((channel.skew for channel in header.channels), default=0)
    if any(channel.gain < 0 for channel in header.channels):
        raise InputError(f"{record.name}.hea: a gain below zero; a gain is positive: correct it")
    if width > FRAME or skew > SKEW:
        raise InputError(
            f"{record.name}.hea: {width} samples in a frame, a skew of {skew}; at most {FRAME} and "
            f"{SKEW}: convert it with xform"
        )


def _examine_array(path: Path, fs: float | None) -> None:
    """Segments stand in memory once they are opened: see what it is before."""
    try:
        axes = np.lib.format.open_memmap(path, mode="r").ndim
    except Exception:  # whatever NumPy makes of it; the reader says what is wrong
        return
    if axes > 2:
        raise _segments(path)
    if fs is None:
        raise InputError(f"{path.name}: a .npy file tells no sampling rate: send it as field fs")


def _segments(path: Path) -> InputError:
    return InputError(
        f"{path.name}: segments, not a recording; they are answered, not kept: send them to "
        "POST /predict/segments"
    )


def _check_hours(seconds: float, longest: float) -> None:
    if seconds > 3600 * longest:
        raise Problem(413, f"{seconds / 3600:.4g} hours; at most {longest:g} are taken: cut it")
