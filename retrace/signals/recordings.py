"""Filtered recordings on disk: one ragged array and two tables (data/filtered)."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
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

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._files: tuple[NpyWriter, CsvWriter, CsvWriter] | None = None
        self._parts = self._subtypes = False
        self._leads: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._patients: set[str | None] = set()
        self._labels: Counter[str] = Counter()
        self._seconds = 0.0
        self._first: dict[bytes, str] = {}  # the digest of a signal: the record that has it
        self._copies = 0
        self._annotations = 0

    def _open(self, first: Record) -> tuple[NpyWriter, CsvWriter, CsvWriter]:
        """The three files; what the first record does not have is no column of theirs."""
        self._parts, self._subtypes = first.part is not None, bool(first.subtypes)
        folder, enter = self._folder, self._stack.enter_context
        records = (*RECORD_COLUMNS, "part") if self._parts else RECORD_COLUMNS
        annotations = (*ANNOTATION_COLUMNS, "subtype") if self._subtypes else ANNOTATION_COLUMNS
        return (
            enter(NpyWriter(folder / "signals.npy", (len(first.leads),), np.float32)),
            enter(CsvWriter(folder / "records.csv", records)),
            enter(CsvWriter(folder / "annotations.csv", annotations)),
        )

    def append(self, record: Record) -> None:
        """Store the record's signal as rows start:stop of signals.npy."""
        self._files = signals, records, annotations = self._files or self._open(record)
        if record.record_id in self._seen:
            raise InputError(
                f"record {record.record_id}: listed twice; a record stands once in a data set, "
                "with one label: remove one of its rows"
            )
        self._seen.add(record.record_id)
        start = signals.rows
        signals.append(record.signal.T)
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
            signals.rows,
            record.label,
            same_as,
        )
        records.append([(*row, record.part) if self._parts else row])
        subtypes = [record.subtypes] if self._subtypes else []
        annotations.append(
            (record.record_id, *mark)
            for mark in zip(record.beats.tolist(), record.symbols, *subtypes, strict=True)
        )
        self._annotations += len(record.symbols)
        self._patients.add(record.patient_id)
        if record.label is not None:
            self._labels[record.label] += 1
        self._leads[" and ".join(record.leads)] += 1
        self._seconds += record.signal.shape[1] / record.fs

    def check(self) -> None:
        """Without a single record there is nothing to go on with."""
        if self._files is None:
            raise InputError(
                "data/raw: no usable record; at least one is needed: look into the data set's "
                "labels, or set bandpass.unusable to error in params.yaml to see the first"
            )

    def summary(self) -> str:
        """Patients, hours, leads, records and the share of each label, or what is annotated."""
        total = len(self._seen)
        known = len(self._patients)
        who = "patients unknown" if None in self._patients else f"{known} patients"
        shares = ", ".join(f"{k} {n} ({n / total:.1%})" for k, n in self._labels.items())
        shares = shares or f"{self._annotations} annotations"
        leads = ", ".join(f"{name} ({n} records)" for name, n in self._leads.items())
        copies = f"; {self._copies} are exact copies of earlier ones" if self._copies else ""
        hours = f"{self._seconds / 3600:.2f} h"
        return f"{who}, {hours}, lead {leads}\n{total} records: {shares}{copies}"


@contextmanager
def recordings_writer(folder: Path) -> Iterator[RecordingsWriter]:
    """Write signals.npy (total_samples, leads) float32 mV, records.csv, annotations.csv.

    `same_as` in records.csv names the earlier record of which this one is an exact copy. It has a
    column `part`, and annotations.csv a column `subtype`, where the first record has these.
    """
    with ExitStack() as stack:
        writer = RecordingsWriter(folder, stack)
        yield writer
        writer.check()


@dataclass(frozen=True)
class Recordings:
    """Read access to what `recordings_writer` wrote; one record in memory at a time."""

    folder: Path

    def __iter__(self) -> Iterator[Record]:
        # Mapped, since a file that is opened for each of 100,000 single beats takes seconds.
        signals = np.asarray(NpyReader(self.folder / "signals.npy").mapped())
        leads = tuple(str(lead) for lead in range(signals.shape[1]))
        # Both tables have the same order, so that one pass over each is enough.
        annotated = _annotations(self.folder / "annotations.csv")
        owner, marks = next(annotated, _NO_MORE)
        for row in each_row(self.folder / "records.csv", RECORD_COLUMNS):
            samples = signals[int(row["start"]) : int(row["stop"])]
            record = Record(
                record_id=row["record_id"],
                fs=float(row["fs"]),
                leads=leads,
                signal=np.array(samples.T, order="C"),
                patient_id=row["patient_id"] or None,
                age=float(row["age"]) if row["age"] else None,
                sex=row["sex"] or None,
                label=row["label"] or None,
                part=row.get("part") or None,
            )
            if owner == record.record_id:
                record = replace(
                    record,
                    beats=np.array([int(mark["sample"]) for mark in marks], np.int64),
                    symbols=tuple(mark["symbol"] for mark in marks),
                    subtypes=tuple(int(mark["subtype"]) for mark in marks if "subtype" in mark),
                )
                owner, marks = next(annotated, _NO_MORE)
            yield record
        if marks:
            raise InputError(
                f"{self.folder / 'annotations.csv'}: record {owner} is not in records.csv, or not "
                "in its order; the two belong together: run dvc repro, or dvc checkout"
            )


_NO_MORE: tuple[str, list[dict[str, str]]] = ("", [])


def _annotations(path: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The rows of one record after the other."""
    rows = each_row(path, ANNOTATION_COLUMNS)
    for record_id, marks in groupby(rows, itemgetter("record_id")):
        yield record_id, list(marks)
