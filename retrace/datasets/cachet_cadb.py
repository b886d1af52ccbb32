"""CACHET-CADB in its short format: 1,602 labelled windows of 10 s, one wearable lead, 1,024 Hz.

Kumar et al., "CACHET-CADB: A Contextualized Ambulatory Electrocardiography Arrhythmia Dataset",
Frontiers in Cardiovascular Medicine 9 (2022) 893090, https://doi.org/10.11583/DTU.14547330. One
HDF5 file holds two flat float64 arrays, `signal` and `labels` (1 AF, 2 NSR, 3 Noise, 4 others,
repeated for each sample of a window).

It names no patients. The publisher's tool kit wrote it one patient after the other, and its
notebook prints what each of them has: those are `BLOCKS`, and a file whose labels do not count up
to them is refused. It names no unit either; the tool kit scales the sensor's counts and draws them
as mV, and so they are taken here.

Each window was cut first and filtered then: zero-phase Butterworth of order 3 from 0.5 to 40 Hz,
and a Savitzky-Golay smoother of order 6 over 103 samples, which takes 3 dB at 23 Hz and nearly
nine tenths at 30 Hz. So a window's ends are the filters' transients, and where two windows of a
patient overlap they are only nearly equal.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from retrace.errors import InputError
from retrace.signals.records import Record

FILE = "cachet-cadb_short_format_without_context.hdf5"
CODES = {1: "AF", 2: "NSR", 3: "Noise", 4: "Other"}
BLOCKS = (  # patient, and the windows of AF, NSR, Noise and Other
    ("P4", (7, 6, 7, 0)),
    ("P3", (138, 0, 1, 0)),
    ("PNSR-4", (0, 28, 3, 0)),
    ("PNSR-3", (0, 31, 2, 0)),
    ("P2", (1, 46, 22, 1)),
    ("P5", (90, 0, 1, 0)),
    ("P19", (45, 8, 1, 0)),
    ("P21", (0, 6, 1, 3)),
    ("P17", (176, 0, 2, 0)),
    ("P10", (0, 29, 3, 0)),
    ("P11", (0, 74, 0, 1)),
    ("P16", (0, 0, 0, 0)),
    ("P18", (0, 103, 15, 0)),
    ("P7", (8, 64, 7, 3)),
    ("P9", (0, 102, 4, 1)),
    ("P8", (0, 2, 31, 0)),
    ("PNSR-1", (0, 6, 12, 0)),
    ("P6", (1, 40, 0, 3)),
    ("P1", (184, 18, 0, 6)),
    ("P13", (2, 2, 26, 1)),
    ("P14", (0, 35, 59, 0)),
    ("P15", (95, 0, 0, 0)),
    ("P12", (0, 11, 14, 0)),
    ("P23", (0, 4, 10, 0)),
)
SAMPLES = 10_240  # of a window
WINDOWS = sum(sum(counts) for _, counts in BLOCKS)
_FS = 1024.0
_BAND = (0.5, 40.0, 3)
# What h5py raises for a file that is no HDF5 file or only part of one.
_UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, ValueError)
_AGAIN = "run dvc repro --force fetch to obtain the published one"


def records(
    raw_dir: Path, *, labels: Annotated[dict[str, str], Field(min_length=2)]
) -> Iterator[Record]:
    """Yield a record for each window in the file's order, named by patient and running number.

    No record is yielded before the labels of the whole file are checked. Raises InputError where
    the file is not laid out as published or its labels do not belong to these patients.
    """
    with _arrays(raw_dir / FILE) as (signal, codes):
        for window, (patient, number, code) in enumerate(_windows(codes)):
            yield Record(
                record_id=f"{patient}_{number:03d}",
                patient_id=patient,
                fs=_FS,
                leads=("ECG",),  # the sensor's own on the chest: it has no standard name
                signal=_read(signal, window).astype(np.float32)[None],
                label=str(code),
                band=_BAND,
            ).with_label(labels)


def _windows(codes: h5py.Dataset) -> list[tuple[str, int, int]]:
    """Patient, number among the patient's windows and label of every window, all checked."""
    windows: list[tuple[str, int, int]] = []
    for patient, counts in BLOCKS:
        start = len(windows)
        for number in range(sum(counts)):
            code = _code(_read(codes, start + number), f"{patient}_{number:03d}")
            windows.append((patient, number, code))
        found = Counter(code for _, _, code in windows[start:])
        expected = Counter(dict(zip(CODES, counts, strict=True)))
        if found != expected:
            raise InputError(
                f"{FILE}: windows {start} to {len(windows) - 1} are {_listed(found)}, but the "
                f"block of patient {patient} has {_listed(expected)}, so that patients cannot be "
                f"told apart: {_AGAIN}, or if it is that one, make labelled records from the full "
                "format, https://doi.org/10.11583/DTU.14547264, for dataset wfdb_folder"
            )
    return windows


def _listed(counts: Counter[int]) -> str:
    return ", ".join(f"{name} {counts[code]}" for code, name in CODES.items())


def _code(values: NDArray[np.float64], record_id: str) -> int:
    """The one label of a window."""
    first = float(values[0])
    if first not in CODES:
        raise InputError(
            f"record {record_id}: label {first:g}; the published ones are "
            f"{', '.join(f'{code} {name}' for code, name in CODES.items())}: {_AGAIN}"
        )
    if len(changed := np.flatnonzero(values != first)):
        raise InputError(
            f"record {record_id}: its label changes from {first:g} to {values[changed[0]]:g} at "
            f"sample {changed[0]}, but a window has one: {_AGAIN}"
        )
    return int(first)


def _read(data: h5py.Dataset, window: int) -> NDArray[np.float64]:
    """One window; the whole array never stands in memory."""
    try:
        values: NDArray[np.float64] = data[window * SAMPLES : (window + 1) * SAMPLES]
    except _UNREADABLE as error:
        raise InputError(f"{FILE}: window {window} cannot be read ({error}): {_AGAIN}") from None
    return values


@contextmanager
def _arrays(path: Path) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """The file's two arrays, open for reading."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; the data set is that one: {_AGAIN}")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            arrays = _array(file, "signal"), _array(file, "labels")
        except _UNREADABLE as error:
            raise InputError(f"{path}: not a whole HDF5 file ({error}): {_AGAIN}") from None
        yield arrays


def _array(file: h5py.File, name: str) -> h5py.Dataset:
    """An array of the published type and length, whose bytes lie in this very file.

    HDF5 follows links, external storage and virtual data sets to any other file of the machine,
    and a chunk may unpack to any size: the published arrays need none of these.
    """
    links = file.id.links
    if not links.exists(name.encode()):
        raise InputError(f"{FILE}: no array {name!r}; it must hold signal and labels: {_AGAIN}")
    plain = links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
    data = file[name] if plain else None
    if (
        not isinstance(data, h5py.Dataset)
        or data.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS
        or data.external
    ):
        raise InputError(
            f"{FILE}: {name!r} is no plain array in the file itself, but a link, a group or stored "
            f"elsewhere: {_AGAIN}"
        )
    if data.id.get_type() != h5py.h5t.IEEE_F64LE or data.shape != (WINDOWS * SAMPLES,):
        raise InputError(
            f"{FILE}: {name!r} has the shape {data.shape}; expected {WINDOWS * SAMPLES} float64 "
            f"values in a row, {WINDOWS} windows of {SAMPLES}: {_AGAIN}"
        )
    return data
