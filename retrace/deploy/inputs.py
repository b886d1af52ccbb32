"""What is given to `retrace predict`: recordings of any length, and segments that are ready."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.readers.common import (
    HIGHEST,
    LOWEST,
    PIECE,
    FileRecording,
    printable,
    refusal,
)
from retrace.deploy.readers.csv import open_csv
from retrace.deploy.readers.edf import open_edf
from retrace.deploy.readers.npy import open_npy
from retrace.deploy.readers.wfdb import open_wfdb
from retrace.deploy.readers.wfdb_header import beside, read_header
from retrace.errors import InputError


class Recording(Protocol):
    """A recording that is read piece by piece.

    name: without folder and suffix. path: the file it was opened by, without suffix for WFDB.
    fs: Hz. leads: their names, as the file gives them (CSV and .npy without names: "1", "2", ...).
    samples: its length. beats: (m,) sample indices of its annotated beats (symbols of
    `signals.records.BEATS`), None where it has no annotation file. age, sex: where the file says.
    """

    name: str
    path: Path
    fs: float
    leads: tuple[str, ...]
    samples: int
    beats: NDArray[np.int64] | None
    age: float | None
    sex: str | None

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
        """Samples start:stop of the leads with numbers `rows`: (len(rows), stop - start) in mV."""
        ...


@dataclass(frozen=True)
class Ready:
    """Segments as a model takes them, from a .npy file: X (n, leads, samples), or (n, leads,
    scales, frames) scalograms. features: (n, k) what the model asks for beside each, where it is
    known; a .npy file does not tell."""

    name: str
    path: Path
    X: NDArray[np.float32]
    features: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Refused:
    """An input that cannot be used, and why, in one sentence."""

    path: Path
    why: str


Opener = Callable[[Path, float | None], FileRecording | NDArray[np.float32]]
READ = "WFDB (.hea with its .dat), CSV, .npy, EDF, or a folder of these"
_OPENERS: dict[str, Opener] = {
    ".csv": open_csv,
    ".tsv": open_csv,
    ".txt": open_csv,
    ".npy": open_npy,
    ".edf": open_edf,
}
_WFDB = (".hea", ".dat", ".atr", ".mat")  # any one names the record
_IN_FOLDERS = (".csv", ".tsv", ".npy", ".edf")  # beside .hea
_LABELS = ("labels", "reference")  # how tables of labels beside recordings begin
_PACKED = (".zip", ".gz", ".tgz", ".npz", ".bz2", ".xz", ".zst", ".7z", ".tar", ".rar")


def open_inputs(
    paths: Iterable[Path | str], fs: float | None = None
) -> Iterator[Recording | Ready | Refused]:
    """Open what the user names, one after the other: nothing is read before it is asked for.

    paths: recordings, .npy segments, and folders of these, of which the files are taken in the
    order of their names, but not those of folders within; labels and what is no recording are
    passed over there. A WFDB record is named by any of its files or without a suffix, and opened
    once. fs: Hz of the .npy and CSV files that do not say (--fs); what says it must agree.
    Raises InputError for an `fs` that is none. What cannot be used is `Refused`; `Recording.read`
    raises InputError where a file breaks off after all.
    """
    if fs is not None and not LOWEST <= fs <= HIGHEST:
        raise InputError(
            f"--fs {fs:g}: a sampling rate is from {LOWEST:g} to {HIGHEST:g} Hz: give that of the "
            "recording"
        )
    seen: set[Path] = set()
    for path in chain.from_iterable(_files(Path(given)) for given in paths):
        if isinstance(path, Refused):
            yield path
            continue
        try:
            opener, named = _opener(path)
            if named.absolute() in seen:
                continue
            seen.add(named.absolute())
            found = _living(opener(named, fs), named)
        except InputError as error:
            yield Refused(path, str(error))
        except OSError as error:
            yield _unreadable(path, error)
        else:
            yield found


def _living(found: FileRecording | NDArray[np.float32], path: Path) -> Recording | Ready:
    """What was opened, unless it is a recording without a single number."""
    if isinstance(found, np.ndarray):
        return Ready(path.stem, path, found)
    found.leads = tuple(printable(lead) for lead in found.leads)  # they stand in sentences
    every = tuple(range(len(found.leads)))
    for start in range(0, found.samples, PIECE):
        if np.isfinite(found.read(start, min(start + PIECE, found.samples), every)).any():
            return found  # in nearly all files, the first piece has a number
    raise refusal(path, "not one sample is a number; nothing is left to classify: record again")


def _unreadable(path: Path, error: OSError) -> Refused:
    why = f"{error.strerror or error}; it must be yours to read, with room for what is read"
    return Refused(path, str(refusal(path, f"{why}: change that and try again")))


def _opener(path: Path) -> tuple[Opener, Path]:
    """Who reads the file, and the path to give him; InputError where nobody does."""
    suffix = path.suffix.lower()
    if suffix in _OPENERS:
        return _OPENERS[suffix], path
    if path.suffix in _WFDB and path.suffix != ".mat":
        return open_wfdb, path.with_suffix("")
    if any(beside(path, kind).is_file() for kind in _WFDB):
        return open_wfdb, path
    if suffix == ".mat" and path.with_suffix(".hea").is_file():
        return open_wfdb, path.with_suffix("")
    if not path.exists():
        raise refusal(path, f"no such file or WFDB record; {READ} are read: correct the path")
    if suffix in _PACKED:
        raise refusal(path, "packed; nothing is unpacked here: unpack it and name what is in it")
    if suffix == ".mat":
        raise refusal(
            path,
            "a .mat file without its WFDB header, which gives rate and gain: put "
            f"{path.with_suffix('.hea').name} beside it",
        )
    if suffix == ".bdf":
        raise refusal(path, "BDF, with 24 bits a sample; EDF has 16: convert it to EDF")
    raise refusal(path, f"of a kind that is not read; {READ} are: convert it, to CSV for instance")


def _files(path: Path) -> Iterator[Path | Refused]:
    """The path itself, or the recordings in a folder."""
    try:
        if not path.is_dir():
            yield path
            return
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        yield _unreadable(path, error)
        return
    found = [
        file
        for file in files
        if file.suffix == ".hea"
        or (file.suffix.lower() in _IN_FOLDERS and not file.stem.lower().startswith(_LABELS))
    ]
    segments = _segments(found)
    found = [file for file in found if file not in segments]
    yield from found
    if not found:
        why = f"no recording in this folder; {READ} are read, but no folder within: name another"
        yield Refused(path, str(refusal(path, why)))


def _segments(files: list[Path]) -> set[Path]:
    """The headers that belong to a record of several segments, which is read as a whole."""
    found: set[Path] = set()
    for path in files:
        if path.suffix == ".hea":
            try:
                header = read_header(path.with_suffix(""))
            except InputError:
                continue  # it is refused when its turn comes
            found |= {path.with_name(f"{name}.hea") for name, _ in header.segments} - {path}
    return found
