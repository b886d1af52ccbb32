"""Learning curves as a picture: loss and validation score by epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from retrace.scoring.style import COLOURS, DASHES, QUIET, house_style, save


def draw_curves(
    path: Path, rows: Sequence[Mapping[str, float]], *, score: str, best_epoch: int
) -> None:
    """Write a PNG of the epochs in `rows`, which have train_loss, val_loss and `score`.

    best_epoch: index of the kept epoch, which is marked.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(rows) + 1)
    with house_style():
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        losses, scores = figure.subplots(1, 2)
        for name, colour, dash in zip(
            ("train_loss", "val_loss"), COLOURS[:2], DASHES[:2], strict=True
        ):
            losses.plot(
                epochs, [row[name] for row in rows], color=colour, linestyle=dash, label=name
            )
        # One diverged epoch would flatten the rest of the curve; the cut is visible.
        typical = sorted(max(row["train_loss"], row["val_loss"]) for row in rows)
        losses.set_ylim(0, 1.2 * typical[int(0.9 * (len(typical) - 1))])
        losses.set_title("Loss")
        losses.legend()
        scores.plot(epochs, [row[score] for row in rows], color=COLOURS[2])
        scores.axvline(best_epoch + 1, color=QUIET, linestyle=":", linewidth=1)
        best = rows[best_epoch][score]
        scores.set_title(f"{score}; kept: epoch {best_epoch + 1}, {best:.3f}")
        for axes in (losses, scores):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        save(figure, path)
