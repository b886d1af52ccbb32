"""The same model scored on two splits of the same data: what a random split gives away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrace.runs import run
from retrace.runs.run import Run
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import Rows, cell

FIGURES = ("veb_sensitivity", "veb_ppv", "sveb_sensitivity", "sveb_ppv")


def siblings(root: Path, ours: Run) -> list[Run]:
    """The published runs of the same model with the same options on the same data set, but another
    split; those whose other params are most alike first."""
    found = [run.published(root, name) for name in run.all_published(root)]
    others = [
        one for one in found if one.beats and one.split != ours.split and _what(one) == _what(ours)
    ]
    return sorted(others, key=lambda one: len(differing(ours, one)))


def _what(one: Run) -> dict[str, Any]:
    """Data set and model with their options."""
    model, dataset = one.params["model.name"], one.dataset
    parts = ("model.", f"models.{model}.", f"datasets.{dataset}.")
    kept = {key: value for key, value in one.params.items() if key.startswith(parts)}
    return {**kept, "dataset": dataset}


def differing(one: Run, other: Run) -> list[str]:
    """The params beside split.method that are not the same in both."""
    ours, theirs = one.params, other.params
    return sorted(
        key
        for key in ours.keys() | theirs.keys()
        if key != "split.method" and ours.get(key) != theirs.get(key)
    )


def side_by_side(one: Run, other: Run) -> tuple[Rows, str]:
    """A row for each score, a column for each of the two runs, and how to read them."""
    runs = sorted((one, other), key=lambda each: not each.stamp)
    columns = [_scores(each.scores) for each in runs]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [
        ["score", *(f"{each.split} {each.stamp}".strip() for each in runs)],
        *([name, *(cell(column.get(name)) for column in columns)] for name in names),
    ]
    reading = (
        f"The same model with the same options on {one.dataset}. The difference comes from the "
        "split: whose beats the model has seen, and on which it is tested."
    )
    if keys := differing(one, other):
        reading += f" Not only the split differs: {', '.join(keys)}."
    return rows, reading


def _scores(tree: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = {name: entry for name, entry in tree["overall"].items() if "uncalibrated" not in name}
    gross = tree.get("ec57", {}).get(HEADLINE, {}).get("gross", {})
    return found | {name: gross[name] for name in FIGURES if name in gross}


def beside(root: Path, ours: Run) -> tuple[Rows, str]:
    """The scores of a beat run beside those of its first sibling; without one, only words."""
    if others := siblings(root, ours):
        return side_by_side(ours, others[0])
    return [], (
        f"No run of this model on another split of {ours.dataset} is published: what the split "
        "gives away cannot be seen here."
    )
