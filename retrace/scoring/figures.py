"""Curves and pages of the test part, each as the CSV it is drawn from and as PNG.

Equal input gives equal bytes: `style` sees to the PNG, and CSV keeps six decimals.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrace.files import write_csv
from retrace.scoring import scores
from retrace.scoring.calibration import Bin, ece, reliability
from retrace.scoring.examples import Example, page
from retrace.scoring.style import COLOURS, DASHES, QUIET, house_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Example", "draw"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Curve = tuple[Floats, Floats, Floats]  # threshold, x, y, each (points,)

# A curve of more points than this is thinned: a screen shows no more, a file need not hold them.
POINTS = 1000


def draw(
    folder: Path,
    *,
    y: ArrayLike,
    probabilities: ArrayLike,
    raw_probabilities: ArrayLike,
    classes: Sequence[str],
    examples: Sequence[Example] = (),
    unit: scores.Unit = "record",
    stamp: str | None = None,
) -> None:
    """Write confusion, roc, pr and calibration (.csv and .png) and examples.png into `folder`.

    y: (n,) class numbers. probabilities, raw_probabilities: (n, classes) after and before
    temperature scaling. unit: what the n are. stamp: what is printed on every figure of scores.
    The order of `classes` is kept everywhere; a class without an example has no curve, and the
    legend says so. Without examples there is no page of them.
    """
    labels, p = scores.check(y, probabilities, len(classes))
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(classes[a], classes[b]) for a, b in zip(labels, p.argmax(axis=1), strict=True)]
    write_csv(folder / "confusion.csv", ["actual", "predicted"], pairs)
    roc, pr = _curves(labels, p)
    columns = ["class", "threshold", "false_positive_rate", "sensitivity"]
    write_csv(folder / "roc.csv", columns, _rows(roc, classes))
    write_csv(folder / "pr.csv", ["class", "threshold", "sensitivity", "ppv"], _rows(pr, classes))
    stages = {"before": raw_probabilities, "after": p}
    tables = {name: reliability(values, labels) for name, values in stages.items()}
    errors = {name: ece(values, labels) for name, values in stages.items()}
    write_csv(
        folder / "calibration.csv",
        ["stage", "low", "high", "confidence", "accuracy", "count"],
        (
            [stage, *(round(x, 6) for x in (b.low, b.high, b.confidence, b.accuracy)), b.count]
            for stage, table in tables.items()
            for b in table
        ),
    )
    matrix = scores.confusion(labels, p.argmax(axis=1), len(classes), scores.ones(len(labels)))[0]
    with house_style():
        for name, figure in (
            ("confusion", _confusion(matrix.astype(np.int64), classes, unit)),
            ("roc", _roc(roc, classes, labels, p)),
            ("pr", _pr(pr, classes, labels)),
            ("calibration", _calibration(tables, errors, unit)),
        ):
            if stamp:
                figure.supxlabel(stamp.upper(), x=0.99, ha="right", fontsize=9, color=COLOURS[1])
            save(figure, folder / f"{name}.png")
        if examples:
            save(page(examples, classes), folder / "examples.png")


def _curves(y: Integers, p: Floats) -> tuple[dict[int, Curve], dict[int, Curve]]:
    """ROC (false-positive rate, sensitivity) and PR (sensitivity, PPV), one-versus-rest.

    Only of classes with examples and counter-examples; thresholds fall along both curves.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc: dict[int, Curve] = {}
    pr: dict[int, Curve] = {}
    for c in range(p.shape[1]):
        mine = y == c
        if mine.all() or not mine.any():
            continue
        fpr, tpr, cut = roc_curve(mine, p[:, c], drop_intermediate=True)
        roc[c] = _thin((cut, fpr, tpr))
        ppv, found, cut = precision_recall_curve(mine, p[:, c], drop_intermediate=True)
        # Its last point, PPV 1 at sensitivity 0, belongs to no threshold: a convention.
        pr[c] = _thin((cut[::-1], found[:-1][::-1], ppv[:-1][::-1]))
    return roc, pr


def _thin(curve: Curve) -> Curve:
    length = len(curve[0])
    if length <= POINTS:
        return curve
    kept = np.unique(np.linspace(0, length - 1, POINTS).round().astype(int))
    return curve[0][kept], curve[1][kept], curve[2][kept]


def _rows(curves: dict[int, Curve], classes: Sequence[str]) -> Iterator[list[Any]]:
    for c, curve in curves.items():
        for cut, x, y in zip(*curve, strict=True):
            # The ROC starts above every probability: no alarm at all.
            threshold = round(float(cut), 6) if np.isfinite(cut) else None
            yield [classes[c], threshold, round(float(x), 6), round(float(y), 6)]


def _confusion(matrix: Integers, classes: Sequence[str], unit: scores.Unit) -> "Figure":
    from matplotlib.figure import Figure

    n = len(classes)
    figure = Figure(figsize=(2.4 + 1.0 * n, 1.4 + 0.9 * n), layout="constrained")
    axes = figure.add_subplot()
    support = matrix.sum(axis=1)
    share = matrix / np.maximum(support, 1)[:, np.newaxis]
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(n):
        for column in range(n):
            colour = "white" if share[row, column] > 0.55 else "black"
            percent = f"{100 * share[row, column]:.0f} %" if support[row] else "no example"
            axes.text(
                column,
                row - 0.1,
                str(matrix[row, column]),
                ha="center",
                va="center",
                color=colour,
                fontsize=13,
            )
            axes.text(
                column, row + 0.22, percent, ha="center", va="center", color=colour, fontsize=9
            )
    axes.set_xticks(range(n), classes)
    axes.set_yticks(
        range(n), [f"{name}\n(n = {k})" for name, k in zip(classes, support, strict=True)]
    )
    title = f"{unit.capitalize()}s, and their share of the actual class"
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.5, 1], shrink=0.9)
    bar.ax.set_yticklabels(["0 %", "50 %", "100 %"])
    bar.outline.set_visible(False)
    return figure


def _square(title: str, x: str, y: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    # A little room, so that a perfect curve does not hide under the frame.
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.015, 1.015), ylim=(-0.015, 1.015))
    axes.set_aspect("equal")
    axes.grid(color="#E5E5E5", linewidth=0.6)
    return figure, axes


def _line(c: int) -> dict[str, Any]:
    return {"color": COLOURS[c % len(COLOURS)], "linestyle": DASHES[c % len(DASHES)]}


def _legend(axes: "Axes", title: str) -> None:
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), alignment="left")


def _roc(curves: dict[int, Curve], classes: Sequence[str], y: Integers, p: Floats) -> "Figure":
    figure, axes = _square("ROC, each class against the rest", "false-positive rate", "sensitivity")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (2, 3)))
    areas = scores.aurocs(y, p, scores.ones(len(y)))[0]
    for c, name in enumerate(classes):
        if c in curves:
            _, fpr, tpr = curves[c]
            axes.plot(fpr, tpr, label=f"{name}  {areas[c]:.3f}", **_line(c))
        else:
            axes.plot([], [], label=f"{name}  no curve", **_line(c))
    _legend(axes, "class and AUROC")
    return figure


def _pr(curves: dict[int, Curve], classes: Sequence[str], y: Integers) -> "Figure":
    figure, axes = _square(
        "PPV over sensitivity, each class against the rest", "sensitivity", "PPV"
    )
    for c, name in enumerate(classes):
        share = float((y == c).mean())
        if c in curves:
            _, found, ppv = curves[c]
            percent = f"{100 * share:.0f}" if share >= 0.005 else f"{100 * share:.1g}"
            axes.plot(found, ppv, label=f"{name}  {percent} %", **_line(c))
            axes.plot([1.0, 1.015], [share, share], color=COLOURS[c % len(COLOURS)], linewidth=5)
        else:
            axes.plot([], [], label=f"{name}  no curve", **_line(c))
    _legend(axes, "class and its share\n(PPV by chance,\nmarked at the right)")
    return figure


def _calibration(
    tables: dict[str, list[Bin]], errors: dict[str, float], unit: scores.Unit
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (2, 3)))
    bottom.set_ylim(0, 1.1 * max(b.count for table in tables.values() for b in table))
    for number, (stage, table) in enumerate(tables.items()):
        label = f"{stage} temperature scaling, ECE {errors[stage]:.3f}"
        middles = [(b.low + b.high) / 2 for b in table]
        look = {"color": COLOURS[1 - number], "marker": "os"[number], "markersize": 5}
        top.plot(
            [b.confidence for b in table],
            [b.accuracy for b in table],
            label=label,
            linestyle=DASHES[1 - number],
            **look,
        )
        shift = (number - 0.5) * 0.4 * (table[0].high - table[0].low)
        bottom.bar(
            [m + shift for m in middles],
            [b.count for b in table],
            width=0.4 * (table[0].high - table[0].low),
            color=COLOURS[1 - number],
        )
    top.set(
        title="Is it right as often as it is sure?",
        ylabel="share of right answers",
        xlim=(0, 1.01),
        ylim=(0, 1.01),
    )
    top.legend(loc="upper left")
    for axes in (top, bottom):
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
    bottom.set(xlabel="confidence in the predicted class", ylabel=f"{unit}s")
    return figure
