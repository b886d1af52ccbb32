"""Filtered recordings on disk: one ragged array and two tables (data/filtered)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrace.errors import InputError
from retrace.files import NpyReader, NpyWriter, read_csv, write_csv
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
)


class RecordingsWriter:
    """Append records one by one; the signals never stand in memory together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signals: NpyWriter | None = None
        self._leads: tuple[str, ...] = ()
        self._records: list[Sequence[object]] = []
        self._annotations: list[Sequence[object]] = []
        self._labels: Counter[str] = Counter()
        self._seconds = 0.0

    def append(self, record: Record) -> None:
        """Store the record's signal as rows start:stop of signals.npy."""
        if self._signals is None:
            self._leads = record.leads
            self._signals = NpyWriter(
                self._folder / "signals.npy", (len(record.leads),), np.float32
            )
        start = self._signals.rows
        self._signals.append(record.signal.T)
        self._records.append(
            (
                record.record_id,
                record.patient_id,
                record.age,
                record.sex,
                record.fs,
                start,
                self._signals.rows,
                record.label,
            )
        )
        self._annotations.extend(
            (record.record_id, int(sample), symbol)
            for sample, symbol in zip(record.beats, record.symbols, strict=True)
        )
        self._labels[str(record.label)] += 1
        self._seconds += record.signal.shape[1] / record.fs

    def close(self) -> None:
        """Write the tables; without a single record there is nothing to go on with."""
        if self._signals is None:
            raise InputError(
                "data/raw: no usable record; at least one is needed: look into the data set's "
                "labels.csv, or set bandpass.unusable to error in params.yaml to see the first"
            )
        self._signals.close()
        write_csv(self._folder / "records.csv", RECORD_COLUMNS, self._records)
        write_csv(
            self._folder / "annotations.csv",
            ("record_id", "sample", "symbol"),
            self._annotations,
        )

    def summary(self) -> str:
        """Records, patients, hours, leads and the share of each label."""
        total = len(self._records)
        patients = {row[1] for row in self._records}
        who = "patients unknown" if None in patients else f"{len(patients)} patients"
        shares = ", ".join(f"{k} {n} ({n / total:.1%})" for k, n in self._labels.items())
        return (
            f"{total} records, {who}, {self._seconds / 3600:.2f} h, leads "
            f"{', '.join(self._leads)}: {shares}"
        )


@contextmanager
def recordings_writer(folder: Path) -> Iterator[RecordingsWriter]:
    """Write signals.npy (total_samples, leads) float32 mV, records.csv, annotations.csv."""
    writer = RecordingsWriter(folder)
    yield writer
    writer.close()


@dataclass(frozen=True)
class Recordings:
    """Read access to what `recordings_writer` wrote; one record in memory at a time."""

    folder: Path

    def __iter__(self) -> Iterator[Record]:
        signals = NpyReader(self.folder / "signals.npy")
        leads = tuple(str(lead) for lead in range(signals.shape[1]))
        for row in read_csv(self.folder / "records.csv", RECORD_COLUMNS):
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
