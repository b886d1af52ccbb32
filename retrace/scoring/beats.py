"""The EC57 reports of a run: both conventions, both kinds of peaks, from 0:00 and from 5:00."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from retrace.scoring.ec57 import CLASSES, CONVENTIONS, FIGURES, is_paced
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.ec57_report import report
from retrace.scoring.matching import LEARNING

# Annotated peaks, from 0:00, escape beats as N: what most papers report.
HEADLINE = "papers"
# The headline alone has these: of each record, of women and men, of the majority class.
IN_FULL = ("cells", "baselines", "subgroups", "records", "calibration")


def reports(
    annotated: Sequence[Recording],
    detected: Sequence[Recording],
    *,
    classes: Sequence[str],
    with_paced: bool,
    apart: Mapping[str, Collection[str]],
    notes: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The reports by name; none where a class is not one of EC57's, or no recording is given.

    annotated, detected: the test part's recordings, with the classifier's answers at the annotated
    beats and at those that the detector found; either may be empty. with_paced, apart, classes:
    see `ec57_report.report`; where all records are paced, they are scored, and from 5:00 on no
    record is left out. notes: what every report has to say first.
    """
    found: dict[str, Any] = {}
    if not set(classes) <= set(CLASSES):
        return found
    given = {"annotated": annotated, "detected": detected}
    for start, (peaks, recordings), convention in product(
        (0.0, LEARNING), given.items(), CONVENTIONS
    ):
        if not any(len(one.reference.samples) and _end(one) >= start for one in recordings):
            continue
        whole = report(
            recordings,
            convention=convention,
            peaks=peaks,
            start=start,
            with_paced=with_paced or all(is_paced(one.reference) for one in recordings),
            apart=apart if not start else {},
            classes=classes,
            resamples=resamples,
            seed=seed,
        )
        whole["notes"] = [*notes, *whole["notes"]]
        name = _name(convention, peaks, start)
        left_out = () if name == HEADLINE else IN_FULL
        found[name] = {key: value for key, value in whole.items() if key not in left_out}
    return found


def _end(one: Recording) -> float:
    return float(one.reference.samples[-1]) / one.fs


def _name(convention: str, peaks: str, start: float) -> str:
    words = [convention, *(["detected"] if peaks == "detected" else [])]
    return "_".join([*words, *([f"from_{start:g}_s"] if start else [])])


def record_rows(scores: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]] | None:
    """The headline's figures of each record as columns and rows, for a CSV file; None without one.

    scores: the tree of scores.json.
    """
    if not (ec57 := scores.get("ec57")):
        return None
    columns = ["record_id", *(f"beats_{letter.lower()}" for letter in CLASSES), *FIGURES]
    rows = [
        [name, *own["beats"].values(), *(own[figure] for figure in FIGURES)]
        for name, own in ec57[HEADLINE]["records"].items()
    ]
    return columns, rows
