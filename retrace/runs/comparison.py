"""What is shown of runs side by side: a line for each of many, or a column for each of a few."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from retrace.runs.paired import Pair
from retrace.runs.run import Run
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import Rows, cell, table

NONE = "-"
# What the table of all runs shows of each, where one of them has it.
SCORES = ("accuracy", "f1_macro", "f1_macro_nsv", "f1_macro_nsvf", "challenge_f1")
LOWER_IS_BETTER = ("ece", "ece_uncalibrated")


@dataclass(frozen=True)
class Comparison:
    """runs: in the order in which they are shown. parts: of each test part its letter.

    pairs: the runs of each test part against its best. published: which of the runs have a page.
    notes: how to read it, and what is left out. sort: the score by which runs are sorted, if any.
    """

    runs: Sequence[Run]
    parts: dict[tuple[str, ...], str]
    pairs: Sequence[Pair]
    published: Sequence[str]
    notes: Sequence[str]
    sort: str = ""

    @property
    def shown(self) -> list[str]:
        """The scores of which a line has room."""
        names = dict.fromkeys([*([self.sort] if self.sort else []), *SCORES])
        return [name for name in names if name in self.scores]

    @property
    def scores(self) -> list[str]:
        """Every score that one of the runs has."""
        return list(dict.fromkeys(name for one in self.runs for name in one.scores["overall"]))


def sort(runs: Sequence[Run], score: str = "") -> list[Run]:
    """Runs of one model on one data set, which differ in their split, below each other.

    score: instead, the best first within each test part; those without it last.
    """
    usual = sorted(runs, key=lambda one: (one.dataset, one.model, one.split, one.name))
    if not score:
        return usual
    parts = letters(runs)
    sign = 1 if score in LOWER_IS_BETTER else -1

    def place(one: Run) -> tuple[int, bool, float]:
        value = one.scores["overall"].get(score, {}).get("value")
        return list(parts).index(one.test_part), value is None, sign * (value or 0)

    return sorted(usual, key=place)


def letters(runs: Sequence[Run]) -> dict[tuple[str, ...], str]:
    """A letter for each test part and unit of its answers; after Z come AA, AB and so on."""
    found: dict[tuple[str, ...], str] = {}
    for one in sorted(runs, key=lambda one: (one.dataset, one.split, one.name)):
        more, last = divmod(len(found), len(ascii_uppercase))
        name = (ascii_uppercase[more - 1] if more else "") + ascii_uppercase[last]
        found.setdefault(one.test_part, name)
    return found


def lines(shown: Comparison, *, linked: bool = False) -> Rows:
    """A row for each run; linked: names of published runs lead to their pages."""
    header = ["run", "data set", "model", "split", "stamp", "test part"]
    rows = [[*header, "parameters", "training", *shown.shown]]
    for one in shown.runs:
        link = linked and one.name in shown.published
        name = f"[{one.name}](recipes/{one.name}/README.md)" if link else one.name
        scores = (cell(one.scores["overall"].get(score)) for score in shown.shown)
        made = [one.dataset, one.model, one.split, one.stamp, shown.parts[one.test_part]]
        rows.append([name, *made, one.parameters, one.training, *scores])
    return rows


def side_by_side(shown: Comparison) -> list[Rows | str]:
    """The table of scores, that of the params that differ, and whether they can be compared."""
    runs = shown.runs
    params = _params(runs)
    return [
        _scores(shown),
        *([params] if len(params) > 1 else []),
        *([_warning(runs)] if len(runs) > 1 else []),
    ]


def _scores(shown: Comparison) -> Rows:
    """A row for each headline score, with its interval; a column for each run."""
    cells = [_cells(one, shown.parts[one.test_part]) for one in shown.runs]
    rows = list(dict.fromkeys(name for column in cells for name in column))
    return [
        ["", *(one.name for one in shown.runs)],
        *([name, *(column.get(name, NONE) for column in cells)] for name in rows),
    ]


def _cells(one: Run, part: str) -> dict[str, str]:
    cells = {"data set": one.dataset, "split": f"{one.split} {one.stamp}".strip()}
    cells |= {"model": one.model, "test part": part}
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


def _params(runs: Sequence[Run]) -> Rows:
    """A row for each param that is not the same in all runs; the header alone where all are."""
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
            "Same test part. Intervals that overlap do not say that two runs are equal: the paired "
            "comparison says which is better."
        )
    groups = " | ".join(", ".join(names) for names in parts.values())
    return (
        f"WARNING: not the same test part: {groups}\n"
        "Scores across a | were measured on other records, or of records here and of beats there, "
        "and cannot be compared."
    )
