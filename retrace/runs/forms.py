"""A comparison as text, Markdown, CSV, JSON or HTML, or in colour on a terminal."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from retrace.runs import sortable, terminal
from retrace.runs.comparison import Comparison, lines, side_by_side
from retrace.runs.paired import Pair
from retrace.runs.run import Run
from retrace.runs.words import columns, markdown

# The columns of a run's line in CSV, and its fields in JSON, before its scores.
MADE = ("run", "data_set", "model", "split", "stamp", "test_part", "parameters",
        "training_seconds", "machine")  # fmt: skip
PAIRED = ("best", "paired_score", "behind", "behind_low", "behind_high", "p")


def write(shown: Comparison, form: str, *, few: bool) -> str:
    """The comparison in one of `NAMES`, or in colour for a "terminal".

    few: as text there is a column for each run, and the params that differ; else, and in every
    other form, each run is a line.
    """
    return _FORMS[form](shown, few)


def _text(shown: Comparison, few: bool) -> str:
    tables = side_by_side(shown) if few else [lines(shown)]
    parts = [each if isinstance(each, str) else columns(each) for each in tables]
    return "\n\n".join([*parts, *_said(shown)])


def _markdown(shown: Comparison, _: bool) -> str:
    parts = [markdown(lines(shown, linked=True))]
    return "\n\n".join([*parts, *(_listed(each) for each in (shown.pairs, shown.notes) if each)])


def _listed(sentences: Any) -> str:
    return "\n".join(f"- {each}" for each in sentences)


def _said(shown: Comparison) -> list[str]:
    """The pairs, and how to read them."""
    return ["\n".join(map(str, each)) for each in (shown.pairs, shown.notes) if each]


def _csv(shown: Comparison, _: bool) -> str:
    """Scores as name, name_low, name_high; behind: how far the best run of the part is ahead."""
    stream = io.StringIO()
    ends = [f"{name}{end}" for name in shown.scores for end in ("", "_low", "_high")]
    writer = csv.DictWriter(stream, [*MADE, *ends, *PAIRED], restval="", lineterminator="\n")
    writer.writeheader()
    pairs = {pair.other: pair for pair in shown.pairs}
    for one in shown.runs:
        row = _made(shown, one)
        for name, entry in one.scores["overall"].items():
            row |= {
                name: entry["value"],
                f"{name}_low": entry["low"],
                f"{name}_high": entry["high"],
            }
        if pair := pairs.get(one.name):
            values = (pair.best, pair.score, *_numbers(pair).values())
            row |= dict(zip(PAIRED, values, strict=True))
        writer.writerow(row)
    return stream.getvalue().rstrip("\n")


def _json(shown: Comparison, _: bool) -> str:
    """runs, each with scores as {value, low, high}; pairs; notes."""
    runs = [
        _made(shown, one)
        | {
            "scores": {
                name: {key: entry[key] for key in ("value", "low", "high")}
                for name, entry in one.scores["overall"].items()
            },
            "params": one.params,
        }
        for one in shown.runs
    ]
    pairs = [
        {"best": pair.best, "other": pair.other, "score": pair.score, **_numbers(pair)}
        | {"shown": pair.shown, "sentence": str(pair)}
        for pair in shown.pairs
    ]
    made = {"runs": runs, "pairs": pairs, "notes": list(shown.notes)}
    return json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False)


def _made(shown: Comparison, one: Run) -> dict[str, Any]:
    """How a run was made; None where that is not known."""
    parameters, seconds = (one.cost.get(key) for key in ("parameters", "training_seconds"))
    part, machine = shown.parts[one.test_part], one.machine if one.environment else None
    made = (one.name, one.dataset, one.model, one.split, one.stamp, part, parameters, seconds)
    return dict(zip(MADE, (*made, machine), strict=True))


def _numbers(pair: Pair) -> dict[str, float | None]:
    low, high = pair.difference.interval or (None, None)
    found = {"value": pair.difference.value, "low": low, "high": high, "p": pair.p}
    return {key: value if value is None else round(value, 6) for key, value in found.items()}


_FORMS: dict[str, Callable[[Comparison, bool], str]] = {
    "text": _text,
    "csv": _csv,
    "md": _markdown,
    "json": _json,
    "html": lambda shown, _: sortable.page(shown),
    "terminal": lambda shown, few: terminal.draw(shown, few=few),
}
NAMES = tuple(name for name in _FORMS if name != "terminal")
