"""The strip on ECG paper, its beats marked, and its scalogram: what to look at before any number.

Printed at its own size, 25 mm are a second and 10 mm a millivolt.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrace.deploy.answers import STATEMENT, word
from retrace.deploy.inputs import Recording
from retrace.deploy.judged import Judged
from retrace.deploy.report import clock
from retrace.deploy.strips import SECONDS, Strip, choose, read
from retrace.errors import InputError
from retrace.scoring.examples import COARSE, FINE, INK, PAPER
from retrace.scoring.style import COLOURS, QUIET, house_style, save
from retrace.signals.apply import choose_leads
from retrace.signals.domain import SignalDomain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the page, in mm: the paper's own scale first.
SECOND, MILLIVOLT = 25.0, 10.0
LEFT, RIGHT, TOP, BOTTOM = 14.0, 6.0, 14.0, 14.0
LANE, IMAGE = 7.0, 18.0  # the marks above the strip, the scalogram below it
SPLIT, GAP = 1.0, 11.0  # between the two, and from one row to the next


def check(path: Path) -> None:
    """Refuse what cannot be drawn to, before anything is computed."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot {path}: the strip is a PNG file: name it {path.stem}.png")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"--plot {path}: matplotlib draws it and is not installed: pip install matplotlib"
        )


def draw(
    path: Path, judged: Judged, recording: Recording, lead: str | None, domain: SignalDomain
) -> None:
    """Write `path`: ten-second rows around what is flagged, else the recording's beginning.

    lead: as the user named it, else None. domain: of the model, whose lead is shown behind its
    filter. Where more is flagged than fits, the most probable is shown.
    """
    row = choose_leads(recording.name, recording.leads, domain, lead)[0]
    starts, title = choose(judged)
    strips = [read(recording, row, start, domain) for start in starts]
    band = f", {domain.low:g} to {domain.high:g} Hz" if domain.order else ""
    scale = f"lead {recording.leads[row]}{band}; 25 mm/s, 10 mm/mV"
    with house_style():
        save(_page(strips, judged, f"{judged.name}: {title}", scale), path)


def _page(strips: Sequence[Strip], judged: Judged, title: str, scale: str) -> "Figure":
    """All lengths in mm: the paper's scale decides the size of the page."""
    from matplotlib.figure import Figure

    seconds = max(len(strip.lead) for strip in strips) / judged.answer.fs
    paper = [MILLIVOLT * (strip.limits[1] - strip.limits[0]) for strip in strips]
    width = LEFT + SECOND * SECONDS + RIGHT
    height = TOP + BOTTOM + sum(LANE + tall + SPLIT + IMAGE + GAP for tall in paper) - GAP
    figure = Figure(figsize=(width / 25.4, height / 25.4))
    figure.text(LEFT / width, 1 - 4 / height, title, va="top", fontsize=12, fontweight="bold")
    figure.text(1 - RIGHT / width, 1 - 4.6 / height, scale, va="top", ha="right", color=QUIET)
    figure.text(LEFT / width, 3 / height, _legend(judged), fontsize=8.5)
    brightest = max(float(np.quantile(strip.image, 0.995)) for strip in strips) or 1.0
    y = height - TOP
    for strip, tall in zip(strips, paper, strict=True):
        wide = SECOND * seconds
        y -= LANE + tall
        trace = figure.add_axes(
            (LEFT / width, y / height, wide / width, tall / height), facecolor=PAPER
        )
        _trace(trace, strip, judged, seconds)
        y -= SPLIT + IMAGE
        image = figure.add_axes((LEFT / width, y / height, wide / width, IMAGE / height))
        _image(image, strip, judged.answer.fs, seconds, brightest)
        y -= GAP
    return figure


def _legend(judged: Judged) -> str:
    classes = judged.answer.classes
    if judged.answer.unit == "beat":
        said = [", ".join(f"{name} {word(name)}" for name in classes if word(name) != name)]
    else:
        said = ["blue: R peaks"] if len(judged.answer.peaks) else []
    said += ["?: uncertain"] if judged.uncertain.any() else []
    said += ["in a box: flagged"] if judged.flagged.any() else []
    said += ["–: no answer"] if judged.answer.unit == "beat" and judged.answer.left_out else []
    return ". ".join(part for part in ("; ".join(filter(None, said)), STATEMENT) if part)


def _trace(axes: "Axes", strip: Strip, judged: Judged, seconds: float) -> None:
    """The lead on the paper's millimetres, five of them stronger, and the marks above."""
    from matplotlib.ticker import MultipleLocator

    fs = judged.answer.fs
    axes.plot(np.arange(len(strip.lead)) / fs, strip.lead, color=INK, linewidth=0.9)
    axes.set(xlim=(0, seconds), ylim=strip.limits, ylabel="mV")
    for axis, fine in ((axes.xaxis, 1 / SECOND), (axes.yaxis, 1 / MILLIVOLT)):
        axis.set_minor_locator(MultipleLocator(fine))
        axis.set_major_locator(MultipleLocator(5 * fine))
    axes.grid(which="minor", color=FINE, linewidth=0.4)
    axes.grid(which="major", color=COARSE, linewidth=0.7)
    axes.tick_params(which="both", length=0, labelbottom=False)
    axes.set_yticks(axes.get_yticks(), [f"{v:g}" if v % 1 == 0 else "" for v in axes.get_yticks()])
    axes.set(xlim=(0, seconds), ylim=strip.limits)
    axes.set_axisbelow(True)
    if judged.answer.unit == "beat":
        _beats(axes, strip, judged, seconds)
    else:
        _windows(axes, strip, judged, seconds)


def _beats(axes: "Axes", strip: Strip, judged: Judged, seconds: float) -> None:
    answer = judged.answer
    times = answer.samples / answer.fs - strip.start
    for number in np.flatnonzero((times >= 0) & (times < seconds)).tolist():
        best = int(judged.best[number])
        text = answer.classes[best] + ("?" if judged.uncertain[number] else "")
        _mark(axes, times[number], text, _colour(judged, best), bool(judged.flagged[number]))
        if judged.flagged[number]:
            around = (times[number] - 0.2, times[number] + 0.2)
            axes.axvspan(*around, color=_colour(judged, best), alpha=0.15, linewidth=0)
    missing = np.array([sample for sample, _ in answer.left_out]) / answer.fs - strip.start
    for time in missing[(missing >= 0) & (missing < seconds)].tolist():
        _mark(axes, time, "–", QUIET, False)


def _windows(axes: "Axes", strip: Strip, judged: Judged, seconds: float) -> None:
    """A bar over each window, or what of it the next one leaves, with its class; R peaks below."""
    answer = judged.answer
    begin = answer.samples / answer.fs - strip.start
    end = np.minimum(begin + answer.span, np.append(begin[1:], np.inf))
    for number in np.flatnonzero((begin < seconds) & (end > 0)).tolist():
        left, right = max(0.0, begin[number]), min(seconds, end[number])
        best = int(judged.best[number])
        name, wide = answer.classes[best], right - left > 2.5
        text = (word(name) if wide else name) + ("?" if judged.uncertain[number] else "")
        text += f" {answer.confidence[number]:.2f}" if wide else ""
        colour, flagged = _colour(judged, best), bool(judged.flagged[number])
        if right - left > 0.7:  # of a shorter one there is no room for the name
            _mark(axes, left + 0.04, text, colour, flagged, align="left")
        axes.plot(
            [left + 0.02, right - 0.02],
            [1.0, 1.0],
            transform=axes.get_xaxis_transform(),
            color=colour,
            linewidth=4 if flagged else 1.5,
            solid_capstyle="butt",
            clip_on=False,
        )
    peaks = answer.peaks / answer.fs - strip.start
    for peak in peaks[(peaks >= 0) & (peaks < seconds)].tolist():
        axes.axvline(peak, ymin=0.0, ymax=0.04, color=COLOURS[0], linewidth=1.2)


def _mark(
    axes: "Axes", time: float, text: str, colour: str, flagged: bool, align: str = "center"
) -> None:
    axes.annotate(
        text,
        (time, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 6),
        textcoords="offset points",
        ha=align,
        va="bottom",
        color="white" if flagged else colour,
        fontweight="bold" if flagged else "normal",
        bbox={"boxstyle": "round,pad=0.2", "facecolor": colour, "linewidth": 0}
        if flagged
        else None,
    )


def _colour(judged: Judged, number: int) -> str:
    """What is normal is quiet."""
    name = judged.answer.classes[number]
    return QUIET if name == judged.normal else COLOURS[number % len(COLOURS)]


def _image(axes: "Axes", strip: Strip, fs: float, seconds: float, brightest: float) -> None:
    """Magnitude over time and log frequency."""
    low, high = np.log2(strip.hertz[-1]), np.log2(strip.hertz[0])
    axes.imshow(
        strip.image,
        aspect="auto",
        extent=(0, len(strip.lead) / fs, float(low), float(high)),
        cmap="magma",
        vmin=0,
        vmax=brightest,
        interpolation="bilinear",
    )
    octaves = np.arange(np.ceil(low), np.floor(high) + 1, 2)
    axes.set_yticks(octaves, [f"{2.0**octave:g}" for octave in octaves])
    places = np.arange(0, seconds)
    axes.set_xticks(places, [_second(strip.start + place) for place in places], fontsize=8.5)
    axes.set(xlim=(0, seconds), ylabel="Hz")
    axes.tick_params(color=QUIET)


def _second(time: float) -> str:
    return clock(time).removesuffix(".000") if time % 1 == 0 else clock(time)[:-2]
