"""Parallel coordinates: an axis for each param, a line for each trial, its score as colour."""

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrace.learning.sweep import cells
from retrace.learning.sweep.axis import Axis, axis, span
from retrace.learning.sweep.figures import BEST
from retrace.learning.sweep.results import Sweep, Trial
from retrace.scoring.style import COLOURS, QUIET, house_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = ("#DADADA", COLOURS[4], "#08306B")  # from a middling score to the best
NONE = -0.12  # where a line passes an axis of which its trial has no value


def draw_parallel(path: Path, sweep: Sweep, log: Set[str] = frozenset()) -> None:
    """Write the PNG; a trial without a score has no line.

    log: keys whose range is logarithmic.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    ranked = sweep.ranked()
    columns = cells.axes(ranked)
    best = cells.winner(sweep)
    scores = {trial.number: cells.top(sweep, trial)[1] for trial in ranked}
    scales = [
        axis([c.value(t) for t in ranked if c.known(t)], bool(log & set(c.keys))) for c in columns
    ]
    scales.append(span(list(scores.values())))

    def heights(trial: Trial) -> list[float]:
        number = 0 if trial is best else trial.number  # the best lies where the values' names are
        known = [
            scale.place(column.value(trial), number) if column.known(trial) else NONE
            for column, scale in zip(columns, scales, strict=False)
        ]
        return [*known, scales[-1].place(scores[trial.number])]

    with house_style():
        figure = Figure(figsize=(max(7.0, 1.35 * len(scales)), 4.6), layout="constrained")
        axes = figure.add_subplot()
        # Most trials are stopped early and low: they stay grey, colours tell the upper half apart.
        ordered = sorted(scores.values())
        middle = ordered[len(ordered) // 2]
        colours = LinearSegmentedColormap.from_list("", SHADES)
        shades = ScalarMappable(Normalize(middle, ordered[-1]), colours)
        lines = shades.to_rgba(np.array([scores[trial.number] for trial in ranked]))
        for trial, colour in reversed(list(zip(ranked, lines, strict=True))):
            axes.plot(heights(trial), color=colour, linewidth=1.0, alpha=0.75)
        if best is not None:
            axes.plot(heights(best), color="white", linewidth=5)
            label = f"best: trial {best.number}, {scores[best.number]:.4f}"
            axes.plot(heights(best), color=BEST, linewidth=2.6, marker="o", label=label)
        axes.plot([], [], color=SHADES[-1], label="better half: the darker, the better")
        axes.plot([], [], color=SHADES[0], label="lower half")
        figure.legend(loc="outside lower right", ncols=3)
        missing = any(not column.known(trial) for column in columns for trial in ranked)
        for x, scale in enumerate(scales):
            _upright(axes, x, scale)
        if missing:
            axes.text(-0.1, NONE, "none", ha="right", va="center", fontsize=9, color=QUIET)
        names = [*(column.label for column in columns), sweep.score]
        axes.set_xticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.set(ylim=(NONE - 0.05 if missing else -0.04, 1.04), xlim=(-0.4, len(names) - 0.6))
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        save(figure, path)


def _upright(axes: "Axes", x: int, scale: Axis) -> None:
    axes.plot([x, x], [0, 1], color="black", linewidth=0.9, zorder=4)
    look = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
    for place, text in scale.ticks:
        axes.plot([x - 0.04, x], [place, place], color="black", linewidth=0.9, zorder=4)
        axes.text(x + 0.05, place, text, va="center", fontsize=8.5, zorder=6, bbox=look)
