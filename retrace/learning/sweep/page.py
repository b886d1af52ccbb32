"""The folder of a sweep's results: tables, figures, and a page that shows them."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from retrace.files import new_file, write_csv, write_json
from retrace.learning.sweep import cells, figures
from retrace.learning.sweep.importance import importances
from retrace.learning.sweep.parallel import draw_parallel
from retrace.learning.sweep.repeat import command
from retrace.learning.sweep.results import Sweep, Trial
from retrace.learning.sweep.summary import (
    HONEST,
    best_trials,
    cost,
    ends,
    failures,
    head,
    stops,
    table,
)

CURVES, IMPORTANCE = "learning_curves.png", "importance.png"
PARALLEL, SCATTER = "parallel.png", "scatter.png"


def write(folder: Path, sweep: Sweep, *, log: Collection[str]) -> None:
    """Write trials.csv, sweep.json, the figures and README.md into `folder`, each in one step.

    What else lies there stays; a figure for which there are too few trials is removed, and the page
    says why. log: dotted keys whose range is logarithmic, drawn so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _trials(folder / "trials.csv", sweep)
    write_json(folder / "sweep.json", _tree(sweep))
    shown = _figures(folder, sweep, frozenset(log))
    with new_file(folder / "README.md") as part:
        part.write_text(_page(sweep, shown), encoding="utf-8")


def _figures(folder: Path, sweep: Sweep, log: frozenset[str]) -> list[str]:
    """Draw what there is to draw; Markdown of each figure, or why there is none."""
    for name in (CURVES, IMPORTANCE, PARALLEL, SCATTER):
        (folder / name).unlink(missing_ok=True)
    ranked = sweep.ranked()
    if not ranked:
        return ["None: no trial has a score."]
    figures.draw_curves(folder / CURVES, sweep)
    shown = [f"![Learning curves of all trials]({CURVES})"]
    rated = importances(sweep, log)
    if isinstance(rated, str):
        shown.append(f"No importances: {rated}.")
    else:
        figures.draw_importances(folder / IMPORTANCE, rated)
        shown.append(f"![Importance of the params]({IMPORTANCE})")
        shown.append(
            "A trial counts by its best score, so one that was stopped early counts as less than "
            "it might have become; a param that only some trials have is left out."
        )
    if cells.axes(ranked):
        draw_parallel(folder / PARALLEL, sweep, log)
        figures.draw_scatter(folder / SCATTER, sweep, log)
        shown += [f"![Trials in parallel coordinates]({PARALLEL})"]
        shown += [f"![Score over each param]({SCATTER})"]
    return shown


def _page(sweep: Sweep, shown: list[str]) -> str:
    best = cells.winner(sweep)
    stopped = [["after epoch", "trials"], *([str(n) for n in row] for row in stops(sweep))]
    failed = [f"- {line}" for line in failures(sweep)]
    parts = [
        f"# The sweep `{sweep.name}`",
        f"{head(sweep)}. {HONEST}",
        f"{ends(sweep)}; {cost(sweep)}.",
        *(["## The best trials", table(best_trials(sweep), markdown=True)] if best else []),
        *(["## Repeat the best", f"```sh\n{command(sweep, best)}\n```"] if best else []),
        *(["## Stopped early", table(stopped, markdown=True)] if len(stopped) > 1 else []),
        *(["## Failed", "\n".join(failed)] if failed else []),
        "## Figures",
        *shown,
        "`trials.csv` has every trial, `sweep.json` every epoch of each.",
    ]
    return "\n\n".join(parts) + "\n"


def _trials(path: Path, sweep: Sweep) -> None:
    """A row for each trial; a field is empty where a key is none of its own."""
    keys = cells.keys(sweep.trials)
    plain = ["trial", "state", "epochs", "best_epoch", f"val_{sweep.score}", "seconds", "why"]

    def row(trial: Trial) -> list[Any]:
        epoch, score = trial.best(sweep.score) or (None, None)
        own = [cells.exact(trial.values[k]) if k in trial.values else None for k in keys]
        return [trial.number, trial.state, len(trial.rows), epoch, score, trial.seconds, trial.why,
                *own]  # fmt: skip

    write_csv(path, [*plain, *keys], map(row, sweep.trials))


def _tree(sweep: Sweep) -> dict[str, Any]:
    """The sweep for JSON, in which a figure that is not finite is null."""
    best = cells.winner(sweep)
    return {
        "name": sweep.name,
        "space": sweep.space,
        "searcher": sweep.searcher,
        "seed": sweep.seed,
        "score": sweep.score,
        "max_epochs": sweep.max_epochs,
        "fixed": dict(sweep.fixed),
        "best": best and best.number,
        "trials": [
            {
                "trial": trial.number,
                "state": trial.state,
                "why": trial.why,
                "best_epoch": (trial.best(sweep.score) or [None])[0],
                "seconds": trial.seconds,
                "values": dict(trial.values),
                "rows": [_finite(row) for row in trial.rows],
            }
            for trial in sweep.trials
        ],
    }


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
