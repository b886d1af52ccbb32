"""PhysioNet/CinC Challenge 2017: 8,528 single-lead recordings of 9 to 61 s at 300 Hz.

Clifford et al., "AF classification from a short single lead ECG recording", Computing in
Cardiology 2017, https://physionet.org/content/challenge-2017/1.0.0/. Each recording is one
MATLAB v4 matrix `val` of int16, 1,000 units per mV; REFERENCE-v3.csv holds the labels
N, A, O and ~. Patients are not published, so each recording is its own group.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.io
from pydantic import Field
from scipy.io.matlab import MatReadError

from retrace.errors import InputError
from retrace.signals.records import Record

_UNITS_PER_MILLIVOLT = 1000
_FS = 300.0
# What SciPy raises for a file that is no MATLAB file or only part of one.
_UNREADABLE = (ValueError, KeyError, TypeError, EOFError, IndexError, NotImplementedError)


def records(
    raw_dir: Path, *, labels: Annotated[dict[str, str], Field(min_length=2)]
) -> Iterator[Record]:
    """Yield the recordings in the order of REFERENCE-v3.csv."""
    with (raw_dir / "REFERENCE-v3.csv").open(newline="", encoding="ascii") as stream:
        reference = list(csv.reader(stream))
    for record_id, label in reference:
        path = raw_dir / "training2017" / f"{record_id}.mat"
        if not path.is_file():
            raise InputError(
                f"record {record_id}: {path.name} is missing; REFERENCE-v3.csv lists it: run "
                "dvc repro --force fetch"
            )
        try:
            values = scipy.io.loadmat(path, variable_names=["val"])["val"]
        except (*_UNREADABLE, MatReadError) as error:
            raise InputError(
                f"record {record_id}: {path.name} cannot be read ({error}); it must be the "
                "published MATLAB v4 file: run dvc repro --force fetch"
            ) from None
        yield Record(
            record_id=record_id,
            fs=_FS,
            leads=("I",),
            signal=values.astype(np.float32) / np.float32(_UNITS_PER_MILLIVOLT),
            label=label,
        ).with_label(labels)
