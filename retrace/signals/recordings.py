"""Filtered recordings on disk: one ragged array and two tables (data/filtered)."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrace.errors import InputError
from retrace.files import CsvWriter, NpyReader, NpyWriter, each_row
from retrace.signals.records import Record

RECORD_COLUMNS = (
    "record_id",
    "patient_id",
    "age",
    "sex",
    "fs",
    "start",
    "stop",
    "label",
    "same_as",
)
ANNOTATION_COLUMNS = ("record_id", "sample", "symbol")


class RecordingsWriter:
    """Append records one by one; neither signals nor annotations stand in memory together."""

    def __init__(self, folder: Path, records: CsvWriter, annotations: CsvWriter) -> None:
        self._folder, self._records, self._annotations = folder, records, annotations
        self._signals: NpyWriter | None = None
        self._leads: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._patients: set[str | None] = set()
        self._labels: Counter[str] = Counter()
        self._seconds = 0.0
        self._first: dict[bytes, str] = {}  # the digest of a signal: the record that has it
        self._copies = 0

    def append(self, record: Record) -> None:
        """Store the record's signal as rows start:stop of signals.npy."""
        if self._signals is None:
            self._signals = NpyWriter(
                self._folder / "signals.npy", (len(record.leads),), np.float32
            )
        if record.record_id in self._seen:
            raise InputError(
                f"record {record.record_id}: listed twice; a record stands once in a data set, "
                "with one label: remove one of its rows"
            )
        self._seen.add(record.record_id)
        start = self._signals.rows
        self._signals.append(record.signal.T)
        original = self._first.setdefault(
            hashlib.sha256(record.signal.tobytes()).digest(), record.record_id
        )
        same_as = original if original != record.record_id else None
        self._copies += same_as is not None
        row = (
            record.record_id,
            record.patient_id,
            record.age,
            record.sex,
            record.fs,
            start,
            self._signals.rows,
            record.label,
            same_as,
        )
        self._records.append([row])
        self._annotations.append(
            (record.record_id, int(sample), symbol)
            for sample, symbol in zip(record.beats, record.symbols, strict=True)
        )
        self._patients.add(record.patient_id)
        self._labels[str(record.label)] += 1
        self._leads[" and ".join(record.leads)] += 1
        self._seconds += record.signal.shape[1] / record.fs

    def close(self) -> None:
        """Finish signals.npy; without a single record there is nothing to go on with."""
        if self._signals is None:
            raise InputError(
                "data/raw: no usable record; at least one is needed: look into the data set's "
                "labels.csv, or set bandpass.unusable to error in params.yaml to see the first"
            )
        self._signals.close()

    def summary(self) -> str:
        """Patients, hours, leads, records and the share of each label."""
        total = self._labels.total()
        known = len(self._patients)
        who = "patients unknown" if None in self._patients else f"{known} patients"
        shares = ", ".join(f"{k} {n} ({n / total:.1%})" for k, n in self._labels.items())
        leads = ", ".join(f"{name} ({n} records)" for name, n in self._leads.items())
        copies = f"; {self._copies} are exact copies of earlier ones" if self._copies else ""
        hours = f"{self._seconds / 3600:.2f} h"
        return f"{who}, {hours}, lead {leads}\n{total} records: {shares}{copies}"


@contextmanager
def recordings_writer(folder: Path) -> Iterator[RecordingsWriter]:
    """Write signals.npy (total_samples, leads) float32 mV, records.csv, annotations.csv.

    `same_as` in records.csv names the earlier record of which this one is an exact copy.
    """
    with (
        CsvWriter(folder / "records.csv", RECORD_COLUMNS) as records,
        CsvWriter(folder / "annotations.csv", ANNOTATION_COLUMNS) as annotations,
    ):
        writer = RecordingsWriter(folder, records, annotations)
        yield writer
        writer.close()


@dataclass(frozen=True)
class Recordings:
    """Read access to what `recordings_writer` wrote; one record in memory at a time."""

    folder: Path

    def __iter__(self) -> Iterator[Record]:
        signals = NpyReader(self.folder / "signals.npy")
        leads = tuple(str(lead) for lead in range(signals.shape[1]))
        for row in each_row(self.folder / "records.csv", RECORD_COLUMNS):
            rows = signals.rows(int(row["start"]), int(row["stop"]))
            yield Record(
                record_id=row["record_id"],
                fs=float(row["fs"]),
                leads=leads,
                signal=np.ascontiguousarray(rows.T),
                patient_id=row["patient_id"] or None,
                age=float(row["age"]) if row["age"] else None,
                sex=row["sex"] or None,
                label=row["label"] or None,
            )
