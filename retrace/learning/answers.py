"""What a trained model answers for the test part, record by record or beat by beat."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.files import read_csv, write_csv
from retrace.learning.checkpoint import Model, logits
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.scoring.calibration import softmax
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.matching import Beats, read
from retrace.scoring.scores import Unit
from retrace.signals.records import Record

BATCH = 64


@dataclass(frozen=True)
class Answers:
    """n answers, each for a record of the test part or, where `unit` says so, for a beat.

    rows: (n,) numbers of their segments, of a record's windows the first. record_ids, patient_ids,
    ages, sexes: n each; of beats the record's. y: (n,) class numbers. probabilities,
    raw_probabilities: (n, classes), with and without the temperature. segments: how many they were
    joined from.
    """

    unit: Unit
    rows: NDArray[np.int64]
    record_ids: list[str]
    patient_ids: list[str | None]
    ages: list[float | None]
    sexes: list[str | None]
    y: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    raw_probabilities: NDArray[np.float64]
    classes: list[str]
    thresholds: list[float]
    segments: int

    @property
    def scored(self) -> dict[str, Any]:
        """The arguments of `scoring.evaluation.evaluate`."""
        return {name: value for name, value in vars(self).items() if name != "rows"}

    @property
    def predicted(self) -> list[str]:
        """The n classes that are answered."""
        return [self.classes[number] for number in self.probabilities.argmax(axis=1)]

    def write(self, path: Path, segments: Segments) -> None:
        """predictions.csv: a row for each answer, with the probability of each class."""
        columns = ["record_id", "patient_id"]
        names: list[tuple[Any, ...]] = list(zip(self.record_ids, self.patient_ids, strict=True))
        if self.unit == "beat":
            columns = ["segment_id", "record_id", "sample", "symbol"]
            told = (segments.segment_ids, segments.record_ids, segments.samples, segments.symbols)
            names = [tuple(of_all[row] for of_all in told) for row in self.rows]
        rows = (
            [*name, self.classes[actual], predicted, *(round(float(value), 6) for value in p)]
            for name, actual, predicted, p in zip(
                names, self.y, self.predicted, self.probabilities, strict=True
            )
        )
        columns += ["actual", "predicted", *(f"p_{name}" for name in self.classes)]
        write_csv(path, columns, rows)


def answer(model: Model, config: dict[str, Any], segments: Segments, records: Path) -> Answers:
    """Let the model answer for the test part; beside it `detected` alone opens that.

    config: the checkpoint's. records: data/filtered/records.csv, for age and sex.
    """
    rows = segments.rows("test")
    out = logits(model, segments.X, segments.features, rows, BATCH)
    owners = [segments.record_ids[row] for row in rows]
    labels, rule = segments.labels[rows], config["aggregate"]
    y, probabilities = per_record(owners, labels, softmax(out, config["temperature"]), rule)
    _, raw = per_record(owners, labels, softmax(out, 1.0), rule)
    first: dict[str, int] = {}
    for row, owner in zip(rows.tolist(), owners, strict=True):
        first.setdefault(owner, row)
    beats = rule == "none"
    record_ids = owners if beats else list(first)
    columns = ("record_id", "patient_id", "age", "sex")
    known = {row["record_id"]: row for row in read_csv(records, columns)}
    people = [known[record] for record in record_ids]
    return Answers(
        unit="beat" if beats else "record",
        rows=rows if beats else np.array(list(first.values())),
        record_ids=record_ids,
        patient_ids=[person["patient_id"] or None for person in people],
        ages=[float(person["age"]) if person["age"] else None for person in people],
        sexes=[person["sex"] or None for person in people],
        y=y,
        probabilities=probabilities,
        raw_probabilities=raw,
        classes=config["classes"],
        thresholds=config["thresholds"],
        segments=len(rows),
    )


def annotated(
    answers: Answers, segments: Segments, records: Iterable[Record], *, whole: bool
) -> list[Recording]:
    """The test part's recordings with the answers at the annotated beats, as EC57 compares them.

    records: filtered, with their annotations. whole: the test part has all of a record's beats, so
    that its annotations are the reference; else the beats of the test part are. Empty where beats
    are not annotated: an answer for a record, or a beat that its publisher has cut.
    """
    if any(segments.symbols[row] is None for row in answers.rows):
        return []
    of_record: dict[str, list[int]] = {}
    for number, name in enumerate(answers.record_ids):
        of_record.setdefault(name, []).append(number)
    predicted = np.array(answers.predicted)
    found = []
    for record in records:
        if (mine := of_record.get(record.record_id)) is None:
            continue
        rows = answers.rows[mine].tolist()
        samples = np.array([segments.samples[row] for row in rows], dtype=np.int64)
        symbols = tuple(str(segments.symbols[row]) for row in rows)
        found.append(
            Recording(
                record.record_id,
                record.patient_id,
                record.age,
                record.sex,
                record.fs,
                reference=reference(record) if whole else Beats(samples, symbols),
                test=Beats(samples, tuple(predicted[mine].tolist())),
                probabilities=answers.probabilities[mine],
            )
        )
    return found


def reference(record: Record) -> Beats:
    """The annotations of a record, sorted as EC57 sorts them."""
    return read(record.beats, record.symbols, record.fs, record.subtypes or None)
