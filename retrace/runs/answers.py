"""What a run answered for its test part, counted: enough to compare it in pairs with another."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError

# Beside a published run; a row for each pair of classes that a record has.
FILE = "answers.csv"
COLUMNS = ("patient_id", "record_id", "actual", "predicted", "answers")
PREDICTIONS, RECORDS = "plots/test/predictions.csv", "data/filtered/records.csv"
# Of a patient or record where names are kept back: see `numbered`.
NUMBER = re.compile(r"[pr]\d{4,}")

Row = Mapping[str, str]


@dataclass(frozen=True)
class Answers:
    """g groups: the patients of a test part, or its records where the patient is unknown.

    matrices: (g, classes, classes), how often each class (rows) was answered as each (columns).
    """

    classes: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    matrices: NDArray[np.float64]

    def same_test_part(self, other: "Answers") -> bool:
        """Whether both answered for the same examples of the same classes of the same groups.

        A group that is numbered in one of them is the one in its place in the other.
        """
        return (
            self.classes == other.classes
            and len(self.groups) == len(other.groups)
            and all(map(_may_be, self.groups, other.groups))
            and np.array_equal(self.matrices.sum(axis=2), other.matrices.sum(axis=2))
        )


def _may_be(one: tuple[str, str], other: tuple[str, str]) -> bool:
    names = one[1], other[1]
    return one[0] == other[0] and (len({*names}) == 1 or any(map(NUMBER.fullmatch, names)))


def count(predictions: Iterable[Row], records: Iterable[Row]) -> list[tuple[str | int, ...]]:
    """The rows of answers.csv, records in their order in predictions.csv.

    records: those of data/filtered/records.csv, which name the patients.
    """
    patients = {row["record_id"]: row["patient_id"] for row in records}
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for row in predictions:
        own = counts.setdefault(row["record_id"], Counter())
        own[row["actual"], row["predicted"]] += 1
    return [
        (patients.get(record, ""), record, *pair, number)
        for record, own in counts.items()
        for pair, number in sorted(own.items())
    ]


def read(rows: Iterable[Sequence[str | int]], classes: Sequence[str]) -> Answers:
    """The rows of answers.csv as matrices; classes: those of the run, in their order.

    Groups keep the order of their first row: a bootstrap of the run's own seed then draws the
    resamples from which its published intervals come. Raises InputError for a class that the run
    does not have, and for what is no count.
    """
    number = {name: place for place, name in enumerate(classes)}
    found: dict[tuple[str, str], NDArray[np.float64]] = {}
    for patient, record, actual, predicted, answers in rows:
        group = ("patient", str(patient)) if patient else ("record", str(record))
        matrix = found.setdefault(group, np.zeros((len(classes), len(classes))))
        try:
            matrix[number[str(actual)], number[str(predicted)]] += int(answers)
        except (KeyError, ValueError):
            raise InputError(
                f"{FILE}: record {record}: {actual}, {predicted}, {answers}; two of the classes "
                f"{', '.join(classes)} and a count are needed: restore it from Git"
            ) from None
    return Answers(tuple(classes), tuple(found), np.array(list(found.values())))
