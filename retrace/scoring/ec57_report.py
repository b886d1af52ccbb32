"""The report of a beat classifier: gross, average and of each record, with intervals and baseline.

Gross figures are those of the sum of all records' tables, in which a record with many beats weighs
more; averages are means of the records' own figures, without the records that have none (no VEB:
no sensitivity). EC57 wants both, and the figures of every record.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.scoring.ec57 import (
    CLASSES,
    CONVENTIONS,
    FIGURES,
    LETTERS,
    figures,
    is_paced,
    majority,
    support,
    table,
)
from retrace.scoring.ec57_recording import Recording, calibration_error
from retrace.scoring.intervals import FEW, LEVEL, Where, leaf, measure
from retrace.scoring.matching import LEARNING, WINDOW, match
from retrace.scoring.scores import F1_OF_BEATS, ratio
from retrace.scoring.subgroups import BANDS, ENOUGH, SEXES, age_band

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

OF_THE_STANDARD = FIGURES[:8]  # these are averaged over records too
PEAKS = ("annotated", "detected")


def report(
    recordings: Sequence[Recording],
    *,
    convention: str,
    peaks: str,
    start: float = 0.0,
    with_paced: bool = False,
    apart: Mapping[str, Collection[str]] = MappingProxyType({}),
    classes: Sequence[str] = CLASSES,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Score recordings by EC57; a tree for JSON whose leaves are {"value", "low", "high"}.

    convention: one of `ec57.CONVENTIONS`, from beat symbol to class. peaks: one of `PEAKS`, where
    the test's beats come from. start: s; `LEARNING` leaves out the first five minutes. with_paced:
    score paced records too. apart: sets of records, by name; the gross figures are given once more
    without each. classes: what the columns of the probabilities stand for.
    The bootstrap draws patients, or records where the patient is unknown.
    Raises InputError where no record is left and for symbols that the map does not have.
    """
    for name, given, known in (("peaks", peaks, PEAKS), ("convention", convention, CONVENTIONS)):
        if given not in known:
            raise InputError(f"{name}: expected {' or '.join(known)}; got {given!r}")
    aami = CONVENTIONS[convention]
    paced = [] if with_paced else [one.record_id for one in recordings if is_paced(one.reference)]
    kept = [one for one in recordings if one.record_id not in paced]
    if not kept:
        raise InputError(
            f"all {len(recordings)} records are paced or there is none: nothing is left to score; "
            "choose other records or include the paced ones"
        )
    pairs = [match(one.reference, one.test, one.fs, start=start) for one in kept]
    tables = np.stack(
        [table(one.reference, one.test, own, aami) for one, own in zip(kept, pairs, strict=True)]
    ).astype(np.float64)
    scored = _Scored(kept, tables, resamples, seed)
    every = np.arange(len(kept))
    tree: dict[str, Any] = {
        "protocol": {
            "standard": "ANSI/AAMI EC57, beats paired as WFDB's bxb does",
            "convention": convention,
            "peaks": peaks,
            "window_s": WINDOW,
            "start_s": start,
            "paced_left_out": paced,
        },
        "bootstrap": {"groups": len(set(scored.groups(every))), "resamples": resamples}
        | {"level": LEVEL},
        "cells": _cells(tables.sum(axis=0)),
        **scored.part(every),
        **measure(scored.groups(every), scored.beside, resamples=resamples, seed=seed),
        "subgroups": scored.subgroups(),
        "records": {one.record_id: _single(own) for one, own in zip(kept, tables, strict=True)},
    }
    tree["baselines"]["majority"]["class"] = CLASSES[int(support(tables).argmax())]
    for name, left_out in apart.items():
        rest = np.array([n for n, one in enumerate(kept) if one.record_id not in left_out], int)
        if 0 < len(rest) < len(kept):
            tree.setdefault("without", {})[name] = scored.part(rest)
    if (calibration := calibration_error(kept, pairs, aami, classes)) is not None:
        tree["calibration"] = calibration
    tree["notes"] = _notes(tree)
    return tree


@dataclass(frozen=True)
class _Scored:
    """n recordings and their tables (n, 7, 7)."""

    recordings: Sequence[Recording]
    tables: Floats
    resamples: int
    seed: int

    def groups(self, rows: Integers) -> list[Hashable]:
        """Whose each record is; the tag keeps the names of patients and records apart."""
        some = [self.recordings[row] for row in rows]
        return [
            ("patient", one.patient_id) if one.patient_id is not None else ("record", one.record_id)
            for one in some
        ]

    def part(self, rows: Integers) -> dict[str, Any]:
        """Counts and gross figures of the records in these rows."""
        tables = self.tables[rows]
        patients = {self.recordings[row].patient_id for row in rows}
        here = support(tables) > 0

        def gross(weights: Floats) -> dict[Where, Floats]:
            return {(name,): own for name, own in figures(_pool(tables, weights), here).items()}

        return {
            "counts": {
                "records": len(rows),
                "patients": None if None in patients else len(patients),
                "beats": _beats(tables),
            },
            "gross": measure(self.groups(rows), gross, resamples=self.resamples, seed=self.seed),
        }

    def beside(self, weights: Floats) -> dict[Where, Floats]:
        """Averages over records, and what naming every beat alike would get."""
        found: dict[Where, Floats] = {}
        each = figures(self.tables)
        for name in OF_THE_STANDARD:
            known = np.isfinite(each[name])
            own = np.where(known, each[name], 0)
            found["average", name] = ratio(weights @ own, weights @ known.astype(np.float64))
        here = support(self.tables) > 0
        ours = figures(_pool(self.tables, weights), here)
        rival = figures(_pool(majority(self.tables), weights), here)
        for name in ("accuracy", *F1_OF_BEATS):
            found["baselines", "majority", name] = rival[name]
            found["baselines", "majority", f"{name}_gain"] = ours[name] - rival[name]
        return found

    def subgroups(self) -> dict[str, Any]:
        """The gross figures of women and men and of each age band that has a record."""
        attributes = {
            "sex": ([one.sex for one in self.recordings], SEXES),
            "age": ([age_band(one.age) for one in self.recordings], BANDS),
        }
        found: dict[str, Any] = {}
        for attribute, (values, order) in attributes.items():
            parts: dict[str, Any] = {}
            for value in order:
                rows = np.array([n for n, own in enumerate(values) if own == value], dtype=np.int64)
                if len(rows):
                    parts[value] = self.part(rows)
            if parts:
                unknown = sum(value not in order for value in values)
                found[attribute] = {"groups": parts, "unknown_records": unknown}
        return found


def _pool(tables: Floats, weights: Floats) -> Floats:
    """The sums (k, 7, 7) of tables (n, 7, 7) under weights (k, n)."""
    return (weights @ tables.reshape(len(tables), -1)).reshape(-1, *tables.shape[1:])


def _beats(tables: Floats) -> dict[str, int]:
    """How many beats of each class the reference has."""
    return dict(zip(CLASSES, support(tables).astype(int).tolist(), strict=True))


def _cells(table: Floats) -> dict[str, int]:
    """The cells of a table (7, 7) that are not empty, named as the standard names them: Vn is a V
    that was called N, No an N that was missed, Ov a V where no beat is."""
    return {
        f"{LETTERS[row]}{LETTERS[column].lower()}": int(table[row, column])
        for row, column in np.argwhere(table).tolist()
    }


def _single(own: Floats) -> dict[str, Any]:
    found = {name: leaf(float(value), None)["value"] for name, value in figures(own).items()}
    return {"beats": _beats(own), "cells": _cells(own)} | found


def _notes(tree: dict[str, Any]) -> list[str]:
    protocol, counts = tree["protocol"], tree["counts"]
    escapes = CONVENTIONS[protocol["convention"]]
    notes = [
        f"Convention {protocol['convention']}: atrial escape beats (e) count as {escapes['e']}, "
        f"junctional ones (j) as {escapes['j']}; {protocol['peaks']} peaks, pairs within "
        f"{1000 * protocol['window_s']:g} ms, scored from {protocol['start_s']:g} s, no beat in "
        "ventricular flutter or fibrillation.",
    ]
    if 0 < protocol["start_s"] != LEARNING:
        notes.append(f"EC57 scores from {LEARNING:g} s: this start is not the standard's.")
    if protocol["paced_left_out"]:
        notes.append(f"Paced records left out: {', '.join(protocol['paced_left_out'])}.")
    few = [c for c, number in counts["beats"].items() if 0 < number < FEW]
    if few:
        notes.append(f"Fewer than {FEW} beats of {', '.join(few)}: read the table.")
    if absent := [c for c, number in counts["beats"].items() if not number]:
        notes.append(f"No beat of {', '.join(absent)}: left out of every macro average.")
    small = [
        f"{name} ({own['counts']['patients']})"
        for attribute in tree["subgroups"].values()
        for name, own in attribute["groups"].items()
        if (own["counts"]["patients"] or 0) < ENOUGH
    ]
    if small:
        notes.append(f"No fairness verdict: fewer than {ENOUGH} patients in {', '.join(small)}.")
    return notes
