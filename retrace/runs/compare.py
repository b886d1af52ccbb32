"""Runs side by side: what they scored, how they were made, and whether that can be compared."""

from collections.abc import Sequence
from pathlib import Path

from retrace.errors import InputError
from retrace.runs import run
from retrace.runs.run import WORKSPACE, Run
from retrace.runs.words import columns
from retrace.scoring.evaluation import table

NONE = "-"


def compare(root: Path, names: Sequence[str]) -> str:
    """The page for the named runs: recipes, or "workspace" for the present run.

    No names: every published run, and the workspace where it is a finished run.
    Raises InputError for a run that is not there.
    """
    if names:
        return page([_find(root, name) for name in dict.fromkeys(names)])
    runs = [run.published(root, name) for name in run.all_published(root)]
    try:
        runs.insert(0, run.workspace(root))
    except InputError as error:
        if not runs:
            raise
        return f"{page(runs)}\n\nThe workspace is left out: {error}"
    return page(runs)


def page(runs: Sequence[Run]) -> str:
    """The table of scores, the params that differ, and what may be concluded from them."""
    parts = [columns(_scores(runs))]
    if len(params := _params(runs)) > 1:
        parts.append(columns(params))
    if len(runs) > 1:
        parts.append(_warning(runs))
    return "\n\n".join(parts)


def _find(root: Path, name: str) -> Run:
    return run.workspace(root) if name == WORKSPACE else run.published(root, name)


def _scores(runs: Sequence[Run]) -> list[list[str]]:
    """A row for each headline score, with its interval; a column for each run."""
    cells = [_cells(one) for one in runs]
    rows = list(dict.fromkeys(name for column in cells for name in column))
    return [
        ["", *(one.name for one in runs)],
        *([name, *(column.get(name, NONE) for column in cells)] for name in rows),
    ]


def _cells(one: Run) -> dict[str, str]:
    cells = {"data set": one.dataset, "model": one.model}
    shown = {*one.metrics, *one.scores["overall"], "f1_macro above majority"}
    for name, value, interval, *_ in table(dict(one.scores)):
        if name in shown:
            cells[name] = f"{value} ({interval})" if interval else value
        if name in ("records", "patients"):
            cells[f"test {name}"] = value
    if "parameters" in one.cost:
        cells["parameters"] = f"{one.cost['parameters']:,}"
    return cells | {"training": one.training}


def _params(runs: Sequence[Run]) -> list[list[str]]:
    """A row for each param that is not the same in all runs."""
    params = [one.params for one in runs]
    keys = sorted({key for each in params for key in each})
    rows = [[key, *(str(each[key]) if key in each else NONE for each in params)] for key in keys]
    differ = [row for row in rows if len(set(row[1:])) > 1]
    return [["params that differ", *(one.name for one in runs)], *differ]


def _warning(runs: Sequence[Run]) -> str:
    parts: dict[tuple[str, ...], list[str]] = {}
    for one in runs:
        parts.setdefault(one.test_part, []).append(one.name)
    if len(parts) == 1:
        return (
            "Same test part. Intervals that overlap do not say that two runs are equal: only a "
            "paired comparison, record by record, says which is better."
        )
    groups = " | ".join(", ".join(names) for names in parts.values())
    return (
        f"WARNING: not the same test part: {groups}\n"
        "Scores across a | were measured on other records, and cannot be compared."
    )
