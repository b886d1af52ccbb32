"""Runs side by side: what they scored, how they were made, and whether that can be compared."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from retrace.errors import InputError
from retrace.runs import run
from retrace.runs.run import WORKSPACE, Run
from retrace.runs.words import columns, markdown
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import cell, table

NONE = "-"
# What the table of all runs shows of each, where one of them has it.
SCORES = ("accuracy", "f1_macro", "f1_macro_nsv", "f1_macro_nsvf", "challenge_f1")


def compare(root: Path, names: Sequence[str], *, as_markdown: bool = False) -> str:
    """The page for the named runs: recipes, or "workspace" for the present run.

    No names: a line for every published run, and for the workspace where it is a finished run.
    as_markdown: lines in Markdown, of the published runs where no names are given.
    Raises InputError for a run that is not there.
    """
    runs = [_find(root, name) for name in dict.fromkeys(names or run.all_published(root))]
    if as_markdown:
        return markdown(lines(runs, linked=True))
    if names:
        return page(runs)
    left_out = ""
    try:
        runs.append(run.workspace(root))
    except InputError as error:
        if not runs:
            raise
        left_out = f"\n\nThe workspace is left out: {error}"
    return f"{columns(lines(runs))}\n\n{_reading(runs)}{left_out}"


def lines(runs: Sequence[Run], *, linked: bool = False) -> list[list[str]]:
    """A row for each run; runs of one model on one data set, which differ in their split, stand
    below each other. linked: names lead to the runs' pages."""
    shown = [name for name in SCORES if any(name in one.scores["overall"] for one in runs)]
    header = ["run", "data set", "model", "split", "stamp", "test part"]
    rows = [[*header, "parameters", "training", *shown]]
    parts = _test_parts(runs)
    for one in sorted(runs, key=lambda one: (one.dataset, one.model, one.split, one.name)):
        name = f"[{one.name}](recipes/{one.name}/README.md)" if linked else one.name
        scores = (cell(one.scores["overall"].get(score)) for score in shown)
        made = [one.dataset, one.model, one.split, one.stamp, parts[one.test_part]]
        rows.append([name, *made, one.parameters, one.training, *scores])
    return rows


def _test_parts(runs: Sequence[Run]) -> dict[tuple[str, ...], str]:
    """A letter for each test part; after Z come AA, AB and so on."""
    letters: dict[tuple[str, ...], str] = {}
    for one in sorted(runs, key=lambda one: (one.dataset, one.split, one.name)):
        more, last = divmod(len(letters), len(ascii_uppercase))
        name = (ascii_uppercase[more - 1] if more else "") + ascii_uppercase[last]
        letters.setdefault(one.test_part, name)
    return letters


def _reading(runs: Sequence[Run]) -> str:
    said = "95 % intervals. Scores can be compared where the test part has the same letter."
    if any(one.stamp for one in runs):
        said += (
            "\nINTRA-PATIENT: tested on patients that the model may know from its training; such "
            "scores flatter, as the line of the same model on another split shows."
        )
    return said


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
    cells = {"data set": one.dataset, "split": f"{one.split} {one.stamp}".strip()}
    cells["model"] = one.model
    shown = {*one.metrics, *one.scores["overall"], "f1_macro above majority"}
    for name, value, interval, *_ in table(one.scores):
        if name in shown:
            cells[name] = f"{value} ({interval})" if interval else value
        if name in ("beats", "records", "patients"):
            cells[f"test {name}"] = value
    for name, entry in one.scores.get("ec57", {}).get(HEADLINE, {}).get("gross", {}).items():
        if name.startswith(("veb", "sveb")):
            cells[name] = cell(entry)
    if one.parameters != NONE:
        cells["parameters"] = one.parameters
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
