"""A page of strips that were answered rightly and wrongly: look at them before any number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError
from retrace.scoring import scores
from retrace.scoring.style import QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PAPER, FINE, COARSE, INK, SEEN = "#FFF9F8", "#F6D9D5", "#E8AFA8", "#1A1A1A", "#56B4E9"
# What a strip of ECG paper shows; of a longer recording the page shows the beginning.
SECONDS = 10.0
# More leads than this are thinner than their own noise on a page of eight strips.
LEADS = 3


@dataclass(frozen=True)
class Example:
    """One record or beat to look at, with what the model said of it.

    scaled: the waveform is not in mV but normalised. seen: from where to where, in s of the
    waveform, the model saw it; None for all of it.
    """

    record_id: str
    waveform: NDArray[np.floating[Any]]  # (leads, samples) mV
    fs: float  # Hz
    scalogram: NDArray[np.floating[Any]] | None  # (scales, frames)
    frequencies: NDArray[np.floating[Any]] | None  # (scales,) Hz, log-spaced
    actual: str
    predicted: str
    probability: float  # of the predicted class, 0..1
    scaled: bool = False
    seen: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        wave, image, hertz = self.waveform, self.scalogram, self.frequencies
        if wave.ndim != 2 or not wave.size or not self.fs > 0:
            raise InputError(
                f"example {self.record_id}: waveform of shape {wave.shape} at fs {self.fs}; "
                "(leads, samples) and a rate above 0 Hz are needed"
            )
        if image is not None and (hertz is None or image.shape[:1] != hertz.shape):
            raise InputError(
                f"example {self.record_id}: scalogram of shape {image.shape} needs one frequency "
                f"a scale, got {None if hertz is None else hertz.shape}"
            )

    @property
    def right(self) -> bool:
        return self.actual == self.predicted


def choose(y: ArrayLike, probabilities: ArrayLike, n_classes: int) -> list[int]:
    """Which records to look at: for each class a typical right answer and the surest wrong one.

    y: (n,). probabilities: (n, n_classes). Returns rows in the order of classes, a right one
    before a wrong one. Typical is the median probability: the surest right answer is always
    beautiful, and teaches nothing.
    """
    labels, p = scores.check(y, probabilities, n_classes)
    predicted, sure = p.argmax(axis=1), p.max(axis=1)
    chosen: list[int] = []
    for c in range(n_classes):
        right = np.flatnonzero((labels == c) & (predicted == c))
        wrong = np.flatnonzero((labels == c) & (predicted != c))
        if len(right):
            chosen.append(int(right[np.argsort(sure[right], kind="stable")[len(right) // 2]]))
        if len(wrong):
            chosen.append(int(wrong[np.argmax(sure[wrong])]))
    return chosen


def page(examples: Sequence[Example], classes: Sequence[str]) -> "Figure":
    """Right answers on the left, wrong ones on the right, sorted by the actual class.

    To be called within `style.house_style`.
    """
    from matplotlib.figure import Figure

    place = {name: number for number, name in enumerate(classes)}
    ranked = sorted(examples, key=lambda example: place[example.actual])
    columns = [[e for e in ranked if e.right], [e for e in ranked if not e.right]]
    rows = max(len(column) for column in columns)
    figure = Figure(figsize=(15, 0.7 + 2.7 * rows), layout="constrained")
    halves = np.asarray(figure.subfigures(1, 2, wspace=0.03))
    for half, title, column in zip(halves, ("Right", "Wrong"), columns, strict=True):
        half.suptitle(title if column else f"{title}: none", fontsize=14, fontweight="bold")
        _column(half, column, rows)
    return figure


def _column(half: "SubFigure", column: Sequence[Example], rows: int) -> None:
    grid = half.add_gridspec(2 * rows, 1, height_ratios=[1.25, 1] * rows)
    for row, example in enumerate(column):
        seconds = min(SECONDS, example.waveform.shape[1] / example.fs)
        if example.scalogram is None:
            strip = half.add_subplot(grid[2 * row : 2 * row + 2])
        else:
            strip = half.add_subplot(grid[2 * row])
            _scalogram(half.add_subplot(grid[2 * row + 1]), example, seconds)
        _strip(strip, example, seconds)
    for axes in half.axes:
        axes.tick_params(labelbottom=axes is half.axes[-1])
    if column:
        shaded = any(example.seen is not None for example in column)
        half.axes[-1].set_xlabel("time (s); shaded: what the model saw" if shaded else "time (s)")


def _tick(seconds: float) -> float:
    """Seconds between labelled lines: 1 for a strip, .2 (and .04 between) for a single beat."""
    return 1.0 if seconds > 2 else 0.2


def _strip(axes: "Axes", example: Example, seconds: float) -> None:
    """The leads below each other on ECG paper: .2 s and .5 mV lines, whole seconds stronger."""
    from matplotlib.ticker import MultipleLocator

    shown = example.waveform[:LEADS, : max(2, round(seconds * example.fs))].astype(np.float64)
    middles = np.median(shown, axis=1) * (not example.scaled)
    # Half-millivolt steps between leads keep every trace on the lines of the paper.
    step = np.ceil(2 * np.ptp(shown, axis=1).max()) / 2
    offsets = -step * np.arange(len(shown)) if len(shown) > 1 else np.zeros(1)
    time = np.arange(shown.shape[1]) / example.fs
    for lead, offset, middle in zip(shown, offsets, middles, strict=True):
        axes.plot(time, lead - middle + offset, color=INK, linewidth=0.9)
    traces = shown - middles[:, np.newaxis] + offsets[:, np.newaxis]
    low, high = min(-0.5, traces.min() - 0.1), max(1.0, traces.max() + 0.1)
    unit = "normalised" if example.scaled else "mV"
    axes.set(xlim=(0, seconds), ylim=(low, high), ylabel=unit, facecolor=PAPER)
    if example.seen is not None:
        axes.axvspan(*example.seen, color=SEEN, alpha=0.25, linewidth=0)
    # A strip of electrode noise may span volts: lines stay apart whatever the range.
    line = next((s for s in (0.5, 1, 2, 5, 10, 50, 100) if (high - low) / s <= 12), high - low)
    axes.yaxis.set_major_locator(MultipleLocator(line if (high - low) / line <= 5 else 2 * line))
    axes.yaxis.set_minor_locator(MultipleLocator(line))
    axes.xaxis.set_major_locator(MultipleLocator(_tick(seconds)))
    axes.xaxis.set_minor_locator(MultipleLocator(_tick(seconds) / 5))
    axes.grid(which="minor", color=FINE, linewidth=0.6)
    axes.grid(which="major", color=COARSE, linewidth=0.7)
    axes.tick_params(which="both", length=0)
    axes.set_axisbelow(True)
    answer = "" if example.right else f", answered {example.predicted}"
    whole = example.waveform.shape[1] / example.fs
    part = f"   (first {seconds:g} of {whole:.0f} s)" if whole > seconds else ""
    axes.set_title(
        f"{example.actual}{answer} (p = {example.probability:.2f})   {example.record_id}{part}",
        loc="left",
    )


def _scalogram(axes: "Axes", example: Example, seconds: float) -> None:
    """Magnitude over time and log frequency, from zero to the strip's own 99.5th percentile."""
    assert example.scalogram is not None and example.frequencies is not None
    image, hertz = example.scalogram.astype(np.float64), example.frequencies.astype(np.float64)
    if hertz[0] > hertz[-1]:
        image, hertz = image[::-1], hertz[::-1]
    whole = example.waveform.shape[1] / example.fs
    axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        extent=(0, whole, float(np.log2(hertz[0])), float(np.log2(hertz[-1]))),
        cmap="magma",
        vmin=0,
        vmax=float(np.quantile(image, 0.995)) or 1.0,
        interpolation="nearest",
    )
    octaves = np.arange(np.ceil(np.log2(hertz[0])), np.floor(np.log2(hertz[-1])) + 1, 2)
    axes.set_yticks(octaves, [f"{2.0**octave:g}" for octave in octaves])
    axes.set(ylabel="Hz", xlim=(0, seconds), xticks=np.arange(0, seconds + 1e-9, _tick(seconds)))
    axes.tick_params(color=QUIET)
