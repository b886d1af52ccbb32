"""What a trained model answers for the test part, record by record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from retrace.files import NpyReader, read_csv, write_csv
from retrace.learning.checkpoint import logits
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.scoring.calibration import softmax
from retrace.scoring.examples import Example, choose

_BATCH = 64


@dataclass(frozen=True)
class Answers:
    """The arguments of `scoring.evaluation.evaluate` that a model and its data give.

    y: (records,) class numbers. probabilities, raw_probabilities: (records, classes), with and
    without the temperature. segments: how many windows they were joined from.
    """

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

    def write(self, path: Path) -> None:
        """predictions.csv: a row for each record, with the probability of each class."""
        columns = ["record_id", "patient_id", "actual", "predicted"]
        rows = (
            [record, patient, self.classes[actual], self.classes[int(p.argmax())]]
            + [round(float(value), 6) for value in p]
            for record, patient, actual, p in zip(
                self.record_ids, self.patient_ids, self.y, self.probabilities, strict=True
            )
        )
        write_csv(path, [*columns, *(f"p_{name}" for name in self.classes)], rows)


def answer(
    network: nn.Module, config: dict[str, Any], segments: Segments, records: Path
) -> Answers:
    """Let the network answer for the test part; this and no other function opens it.

    config: the checkpoint's. records: data/filtered/records.csv, for age and sex.
    """
    rows = segments.rows("test")
    out = logits(network, segments.X, rows, _BATCH)
    owners = [segments.record_ids[row] for row in rows]
    labels, rule = segments.labels[rows], config["aggregate"]
    y, probabilities = per_record(owners, labels, softmax(out, config["temperature"]), rule)
    _, raw = per_record(owners, labels, softmax(out, 1.0), rule)
    known = {row["record_id"]: row for row in read_csv(records, ("record_id", "age", "sex"))}
    record_ids = list(dict.fromkeys(owners))
    people = [known[record] for record in record_ids]
    return Answers(
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


def examples(
    answers: Answers, segments: Segments, waveforms: Path, fs: float, scalograms: Path
) -> list[Example]:
    """For each class a typical right answer and the surest wrong one, with what was seen.

    waveforms, scalograms: the folders that the stages wrote; a model that takes waveforms has
    no scalograms to show. Of a record with several windows the first is shown.
    """
    frequencies = np.array(
        [float(row["frequency"]) for row in read_csv(scalograms / "frequencies.csv")]
    )
    X, images = NpyReader(waveforms / "X.npy"), NpyReader(scalograms / "X.npy")
    shown = []
    for index in choose(answers.y, answers.probabilities, len(answers.classes)):
        row = segments.record_ids.index(answers.record_ids[index])
        has_image = len(frequencies) > 0
        p = answers.probabilities[index]
        shown.append(
            Example(
                record_id=answers.record_ids[index],
                waveform=X.rows(row, row + 1)[0],
                fs=fs,
                scalogram=images.rows(row, row + 1)[0, 0].astype(np.float64) if has_image else None,
                frequencies=frequencies if has_image else None,
                actual=answers.classes[answers.y[index]],
                predicted=answers.classes[int(p.argmax())],
                probability=float(p.max()),
            )
        )
    return shown
