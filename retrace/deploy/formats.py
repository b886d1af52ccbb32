"""An answer for other programs: JSON and CSV.

JSON: one line, one object for each recording. Its keys:

recording, statement, model (name, dataset, split, weights: SHA-256, note), unit ("beat", "window"),
leads (those that were looked at), fs (Hz), seconds, span (s), peaks_from ("annotations",
"detector", "nobody"); of segments that came without a recording, fs, seconds and peaks_from are
null.
classes: {name: word}, in the order of every list of probabilities.
threshold, reject: the limits as they were set, or null. normal: the class that is not flagged.
summary: see `summary.summary`.
segments: [{sample, seconds, class, probability, probabilities, abnormal, flagged, uncertain}];
flagged and uncertain are null where no limit was set, sample and seconds where there is no time.
left_out: [{sample, seconds, reason}]. quality: [{seconds, signal}], each of ten seconds.

CSV: one header for all recordings, a row for each segment; what is null in JSON is empty.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from retrace.deploy.answers import STATEMENT, word
from retrace.deploy.judged import Judged, Row
from retrace.deploy.summary import summary

_COLUMNS = ("recording", "sample", "seconds", "class", "word", "probability")
_MORE = ("abnormal", "flagged", "uncertain", "left_out")


def as_json(judged: Judged, model: Mapping[str, str], first: bool = True) -> Iterator[str]:
    """One line, piece by piece; see the head of this file. model: of what answered."""
    answer, limits, placed = judged.answer, judged.limits, judged.placed
    head = {
        "recording": judged.name,
        "statement": STATEMENT,
        "model": dict(model),
        "unit": answer.unit,
        "leads": list(answer.leads),
        "fs": answer.fs if placed else None,
        "seconds": round(answer.seconds, 6) if placed else None,
        "span": round(answer.span, 6),
        "peaks_from": answer.peaks_from if placed else None,
        "classes": {name: word(name) for name in answer.classes},
        "threshold": limits.threshold,
        "reject": limits.reject,
        "normal": judged.normal,
        "summary": summary(judged),
        "left_out": [
            {**_place(judged, sample), "reason": reason}
            for sample, reason in sorted(answer.left_out)
        ],
        "quality": [
            {"seconds": round(start, 3), "signal": found} for start, found in answer.quality
        ],
    }
    yield _dumps(head)[:-1] + ', "segments": ['
    comma = ""
    for row in judged.rows():
        if row.name is None:
            continue
        segment = {
            **_place(judged, row.sample),
            "class": row.name,
            "probability": _rounded(row.probability),
            "probabilities": [_rounded(p) for p in row.probabilities],
            "abnormal": _rounded(row.abnormal),
            "flagged": row.flagged,
            "uncertain": row.uncertain,
        }
        yield comma + _dumps(segment)
        comma = ", "
    yield "]}\n"


def as_csv(judged: Judged, model: Mapping[str, str], first: bool = True) -> Iterator[str]:
    """A row for each segment, below a header where it is the `first` recording."""
    classes = judged.answer.classes
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    if first:
        writer.writerow([*_COLUMNS, *(f"p_{name}" for name in classes), *_MORE])
    for row in judged.rows():
        writer.writerow(_cells(judged, row))
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _cells(judged: Judged, row: Row) -> list[Any]:
    probabilities = row.probabilities or (None,) * len(judged.answer.classes)
    return [
        judged.name,
        *_place(judged, row.sample).values(),
        row.name,
        None if row.name is None else word(row.name),
        *map(_rounded, (row.probability, *probabilities, row.abnormal)),
        *(None if said is None else str(said).lower() for said in (row.flagged, row.uncertain)),
        row.left_out,
    ]


def _place(judged: Judged, sample: int) -> dict[str, float | None]:
    if not judged.placed:
        return {"sample": None, "seconds": None}
    return {"sample": sample, "seconds": round(sample / judged.answer.fs, 6)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
