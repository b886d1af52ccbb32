"""MIT-BIH, and beside it annotated recordings of one's own: what the service trains on.

mitdb/: the files of `mitdb`. own/: NAME.hea, NAME.dat and NAME.atr of each recording at MIT-BIH's
360 Hz, and persons.csv with the columns record_id and patient_id.

Whoever tries the service has MIT-BIH at hand and uploads it, perhaps with another gain or noise. To
train on a patient by whom the model is validated or tested would flatter it. So a recording that
repeats the intervals between the beats of one of MIT-BIH's is that patient's, and so are all others
of the same person; `splits` then looks on which side the patient stands. A person with recordings
of two of them may stand on both sides, and is left out. The intervals are compared to the sample:
MIT-BIH at another sampling rate, with beats that were marked anew, or cut into pieces of fewer than
17 beats, is not recognised.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from retrace.files import read_csv
from retrace.signals.records import BEATS, Record, read_wfdb, wfdb_names

# As in `mitdb`, which is no dep of the stage while this data set is chosen.
PATIENTS = {"202": "201"}
# So many intervals in a row, to the sample, no two hearts share; but where few of them differ, as
# under a pacemaker, two may.
REPEATED, DIFFERENT = 16, 6


def records(
    raw_dir: Path,
    *,
    labels: Annotated[dict[str, str | None], Field(min_length=2)],
    leads: Annotated[list[str], Field(min_length=1)],
    with_ds1: bool,
) -> Iterator[Record]:
    """Yield MIT-BIH's recordings, then one's own, reduced to `leads`, with all their annotations.

    labels: the class of each symbol, see `mitdb`. with_ds1: whether DS1 is trained on, too. Their
    `part` says to the split what they are: "mitdb", or without DS1 "kept"; "added". What is of two
    of MIT-BIH's patients is not yielded.
    """
    patients: dict[bytes, str] = {}  # of MIT-BIH, by intervals
    for name in wfdb_names(raw_dir / "mitdb", "*"):
        record, patient = read_wfdb(raw_dir / "mitdb" / name, leads), PATIENTS.get(name, name)
        for rhythm in rhythms(_beats(record)):
            patients.setdefault(rhythm, patient)
        yield replace(record, patient_id=patient, part="mitdb" if with_ds1 else "kept")
    rows = read_csv(raw_dir / "own/persons.csv", ("record_id", "patient_id"))
    known: dict[str, set[str]] = {row["patient_id"]: set() for row in rows}
    for row in rows:
        record = read_wfdb(raw_dir / "own" / row["record_id"], leads)
        found = {patients[one] for one in rhythms(_beats(record)) if one in patients}
        known[row["patient_id"]] |= found
    for row in rows:
        whose = known[row["patient_id"]] or {row["patient_id"]}
        if len(whose) == 1:
            record = read_wfdb(raw_dir / "own" / row["record_id"], leads)
            yield replace(record, patient_id=min(whose), part="added")


def rhythms(beats: NDArray[np.int64]) -> Iterator[bytes]:
    """Every `REPEATED` intervals in a row, in samples, of which enough differ.

    beats: (k,) sample indices, at MIT-BIH's 360 Hz.
    """
    intervals = np.diff(beats).astype("<i8")
    if len(intervals) < REPEATED:
        return
    for rhythm in np.lib.stride_tricks.sliding_window_view(intervals, REPEATED):
        if len(set(rhythm.tolist())) >= DIFFERENT:
            yield rhythm.tobytes()


def _beats(record: Record) -> NDArray[np.int64]:
    found: NDArray[np.int64] = record.beats[[symbol in BEATS for symbol in record.symbols]]
    return found
