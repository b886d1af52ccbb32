"""Recordings of one's own: their names may be hospital numbers, so what is published numbers them.

A number says in which order patients and records were first met, and nothing keeps which is which.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OWN = "wfdb_folder"
PAGE = (
    "## Patients and records\n\n"
    "These are recordings of the user's own, whose names may be hospital numbers. Here patients "
    "(p0001, p0002) and records (r0001, r0002) are numbered in the order in which they were "
    "tested, and nothing keeps which is which. The path of their folder stands in the recipe and "
    "in `dvc.lock`: read it before you pass them on."
)


class Numbers:
    """What the patients and records of one run are called where it is published."""

    def __init__(self) -> None:
        self._patients: dict[str, str] = {}
        self._records: dict[str, str] = {}

    def rows(self, counts: Iterable[Sequence[str | int]]) -> list[tuple[str | int, ...]]:
        """The rows of answers.csv; an unknown patient stays unknown."""
        return [
            (self._patient(str(patient)) if patient else "", self._record(str(record)), *more)
            for patient, record, *more in counts
        ]

    def scores(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The tree of scores.json, wherever it names a record."""
        found: dict[str, Any] = copy.deepcopy(dict(tree))
        if split := found.get("split"):
            shared = split["shared_records"]
            split["note"] = self._said(split["note"], "(here {})", shared)
            split["shared_records"] = self._each(shared)
        for report in found.get("ec57", {}).values():
            self._ec57(report)
        return found

    def _ec57(self, report: dict[str, Any]) -> None:
        protocol = report["protocol"]
        paced = protocol["paced_left_out"]
        report["notes"] = [self._said(note, "left out: {}.", paced) for note in report["notes"]]
        protocol["paced_left_out"] = self._each(paced)
        if "records" in report:
            report["records"] = {self._record(name): own for name, own in report["records"].items()}
        if "without" in report:
            report["without"] = {
                " and ".join(self._each(names.split(" and "))): own
                for names, own in report["without"].items()
            }
        if "calibration" in report:
            worst = report["calibration"]["worst_record"]
            worst["record_id"] = self._record(worst["record_id"])

    def _said(self, note: str, where: str, names: Sequence[str]) -> str:
        """A note that lists names, with their numbers; `where` they stand, as it writes them."""
        # Never the bare name: that of a record may be a figure which the note has too.
        before, after = (where.format(", ".join(each)) for each in (names, self._each(names)))
        return note.replace(before, after) if names else note

    def _each(self, names: Iterable[str]) -> list[str]:
        return [self._record(name) for name in names]

    def _patient(self, name: str) -> str:
        return self._patients.setdefault(name, f"p{len(self._patients) + 1:04}")

    def _record(self, name: str) -> str:
        return self._records.setdefault(name, f"r{len(self._records) + 1:04}")
