"""Pictures of a sweep: learning curves, what mattered, and the score over each column."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from retrace.learning.sweep import cells
from retrace.learning.sweep.axis import Axis, axis
from retrace.learning.sweep.cells import Column
from retrace.learning.sweep.results import State, Sweep, Trial
from retrace.scoring.style import COLOURS, house_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Many lines of trials lie behind a few that matter.
STATES: Mapping[State, str] = {
    "stopped": "#B8B8B8",
    "running": COLOURS[4],
    "failed": COLOURS[3],
    "finished": COLOURS[0],
}
BEST = COLOURS[1]
GRID = "#E5E5E5"


def draw_curves(path: Path, sweep: Sweep) -> None:
    """Above the score of each trial by epoch, below how many trials had each epoch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    best = cells.winner(sweep)
    with house_style():
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for state, colour in STATES.items():
            mine = [t for t in sweep.ranked() if t.state == state]
            for number, trial in enumerate(mine):
                _curve(above, sweep, trial, colour, f"{state} ({len(mine)})" if not number else "")
        if best is not None:
            epoch, value = cells.top(sweep, best)
            text = f"best: trial {best.number}, {value:.4f} in epoch {epoch}"
            _curve(above, sweep, best, BEST, text, 2.2)
            above.plot([epoch], [value], "o", color=BEST, markersize=6, zorder=5)
        lengths = [len(trial.rows) for trial in sweep.trials]
        epochs = range(1, max(*lengths, 1) + 1)
        below.bar(epochs, [sum(length >= epoch for length in lengths) for epoch in epochs],
                  width=1.0, color=STATES["stopped"], edgecolor="white")  # fmt: skip
        above.set(title=f"{sweep.score} of the validation part, trial by trial", ylabel=sweep.score)
        # Short rows of legend below the curves, which end at the right.
        above.legend(loc="lower right", fontsize=9)
        below.set(xlabel="epoch", ylabel="trials", xlim=(0.4, sweep.max_epochs + 0.6))
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        for axes in (above, below):
            _lines(axes)
        save(figure, path)


def _curve(
    axes: "Axes", sweep: Sweep, trial: Trial, colour: str, label: str, width: float = 0.9
) -> None:
    values = [row.get(f"val_{sweep.score}") for row in trial.rows]
    known = [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None]
    x, y = zip(*known, strict=True)
    axes.plot(x, y, color=colour, linewidth=width, label=label or "_")
    # Where it ended; a trial of one epoch is but this point.
    axes.plot(x[-1:], y[-1:], "x" if trial.state == "failed" else ".", color=colour, markersize=5)


def draw_importances(path: Path, rated: Mapping[str, float]) -> None:
    """The shares of `importance.importances` as bars."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7, 1.2 + 0.32 * len(rated)), layout="constrained")
        axes = figure.add_subplot()
        bars = axes.barh(list(rated), list(rated.values()), color=COLOURS[0], height=0.7)
        axes.bar_label(bars, [_percent(share) for share in rated.values()], padding=4)
        axes.invert_yaxis()
        axes.set(title="Share of the score's variance that a param explains (fANOVA)")
        axes.set_xlim(0, 1.1 * max(rated.values()))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        save(figure, path)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


def draw_scatter(path: Path, sweep: Sweep, log: Set[str] = frozenset()) -> None:
    """The best score of each trial over each param that varies, a panel for one.

    log: keys whose range is logarithmic.
    """
    from matplotlib.figure import Figure

    shown = cells.axes(sweep.ranked())
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    with house_style():
        size = (max(5.0, 2.7 * columns), 0.9 + 2.5 * rows)
        figure = Figure(figsize=size, layout="constrained")
        panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for number, (axes, column) in enumerate(zip(panels, shown, strict=False)):
            _panel(axes, sweep, column, bool(log & set(column.keys)))
            if number % columns == 0:
                axes.set_ylabel(sweep.score)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        figure.suptitle(f"Best {sweep.score} of each trial over its values", fontsize=11)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5)
        save(figure, path)


def _panel(axes: "Axes", sweep: Sweep, column: Column, log: bool) -> None:
    own = [trial for trial in sweep.ranked() if column.known(trial)]
    scale = axis([column.value(trial) for trial in own], log)
    best = cells.winner(sweep)
    for state, colour in STATES.items():
        mine = [trial for trial in own if trial.state == state and trial is not best]
        if any(trial.state == state for trial in sweep.ranked()):
            x = [scale.place(column.value(trial), trial.number) for trial in mine]
            y = [cells.top(sweep, trial)[1] for trial in mine]
            axes.plot(x, y, ".", color=colour, markersize=6, alpha=0.8, label=state)
    if best in own:
        assert best is not None
        x = [scale.place(column.value(best))]
        axes.plot(x, [cells.top(sweep, best)[1]], "*", color=BEST, markersize=13, label="best")
    axes.set(title=column.label, xlim=(-0.04, 1.04))
    _ticks(axes, scale)
    _lines(axes)


def _ticks(axes: "Axes", scale: Axis) -> None:
    places, texts = zip(*scale.ticks, strict=True)
    long = sum(map(len, texts)) > 24
    axes.set_xticks(places, texts, fontsize=9, rotation=25 if long else 0,
                    ha="right" if long else "center", rotation_mode="anchor")  # fmt: skip


def _lines(axes: "Axes") -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
