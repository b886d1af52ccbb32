"""Macro-F1 where the signal got worse, beside that of the clean signal, as table and picture."""

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrace.files import write_csv, write_json
from retrace.scoring import scores
from retrace.scoring.intervals import LEVEL, Where, measure
from retrace.scoring.style import COLOURS, DASHES, QUIET, house_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Conditions = Sequence[tuple[str, int | None]]  # name and, where noise was added, SNR in dB

MISSING = "no other lead"


def compare(
    conditions: Conditions,
    y: Integers,
    predicted: Integers,
    classes: Sequence[str],
    groups: Sequence[Hashable],
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each condition, ready for JSON.

    conditions: the first is the clean signal. y: (n,) class numbers. predicted: (conditions, n),
    -1 where there is no answer; such answers are left out, of the clean signal's score too that
    `difference` starts from. groups: n, what the bootstrap draws.
    """
    of_beats = {
        name: columns
        for name, of in scores.F1_OF_BEATS.items()
        if (columns := scores.columns_of(of, classes))
    }

    def statistic(weights: Floats) -> dict[Where, Floats]:
        found: dict[Where, Floats] = {}
        for number, answers in enumerate(predicted):
            if not (given := answers >= 0).any():
                continue
            here = scores.present(y[given], len(classes))
            f1, clean = (
                scores.rates(
                    scores.confusion(y[given], own[given], len(classes), weights[:, given])
                ).f1
                for own in (answers, predicted[0])
            )
            found[str(number), "f1_macro"] = own = scores.macro(f1, here)
            found[str(number), "difference"] = own - scores.macro(clean, here)
            for name, columns in of_beats.items():
                if here[columns].any():
                    found[str(number), name] = scores.macro(f1[:, columns], here[columns])
        return found

    tree = measure(groups, statistic, resamples=resamples, seed=seed)
    nothing = {"value": None, "low": None, "high": None}
    return [
        {
            "condition": name,
            "snr_db": snr,
            "answers": int((predicted[number] >= 0).sum()),
            **tree.get(str(number), {"f1_macro": nothing, "difference": nothing, "note": MISSING}),
        }
        for number, (name, snr) in enumerate(conditions)
    ]


def summarise(
    conditions: Conditions,
    y: Integers,
    predicted: Integers,
    classes: Sequence[str],
    groups: Sequence[Hashable],
    *,
    unit: str,
    segments: int,
    of: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """What robustness.json holds: the rows of `compare` and what must be known to read them.

    unit: what the n answers are for, "record" or "beat". segments: how many the model was asked
    about, of how many in the test part.
    """
    rows = compare(conditions, y, predicted, classes, groups, resamples=resamples, seed=seed)
    blunt = np.full(len(y), np.bincount(y).argmax())
    f1 = scores.rates(scores.confusion(y, blunt, len(classes), scores.ones(len(y)))).f1
    return {
        "unit": unit,
        "answers": len(y),
        "groups": len(set(groups)),
        "segments": segments,
        "test_segments": of,
        "f1_macro_majority": round(float(scores.macro(f1, scores.present(y, len(classes)))[0]), 6),
        "rows": rows,
        "notes": _notes(unit, y, classes, segments, of, resamples),
    }


def _notes(
    unit: str, y: Integers, classes: Sequence[str], segments: int, of: int, resamples: int
) -> list[str]:
    said = [
        f"{segments} of the {of} test segments, drawn by the seed."
        if segments < of
        else f"All {of} test segments."
    ]
    here = scores.present(y, len(classes))
    if absent := [name for name, has in zip(classes, here, strict=True) if not has]:
        said.append(f"No example of {', '.join(absent)} among them: left out of every mean.")
    if unit == "beat":
        said.append("Beats stay where they are in the clean signal, and RR features as they are.")
    if "Noise" in classes:
        said.append("To call a recording Noise that was made noisy counts as wrong.")
    return [
        *said,
        f"{100 * LEVEL:.0f} % intervals: percentile bootstrap over patients, over records where "
        f"the patient is unknown, {resamples} resamples; that of a difference is paired.",
        "The noise is synthetic: baseline wander of 0.05 to 0.5 Hz, muscle of 20 to 150 Hz, "
        "electrode motion mostly of 1 to 10 Hz.",
        "The signal-to-noise ratio is the power of each lead between 0.5 and 40 Hz over that of "
        "the noise as it is added, before the band-pass, both over the whole recording.",
    ]


def write(folder: Path, summary: dict[str, Any]) -> None:
    """Write robustness.json, .csv and .png; summary: what the JSON holds, its rows under "rows"."""
    rows: list[dict[str, Any]] = summary["rows"]
    write_json(folder / "robustness.json", summary)
    found = {name: None for row in rows for name, value in row.items() if isinstance(value, dict)}
    ends = {"value": "", "low": "_low", "high": "_high"}
    plain = ("condition", "snr_db", "answers")
    write_csv(
        folder / "robustness.csv",
        [*plain, *(name + end for name in found for end in ends.values()), "note"],
        (
            [row[name] for name in plain]
            + [row.get(name, {}).get(key) for name in found for key in ends]
            + [row.get("note")]
            for row in rows
        ),
    )
    with house_style():
        save(_figure(summary), folder / "robustness.png")


def _figure(summary: dict[str, Any]) -> "Figure":
    """Left macro-F1 over the noise, a line for each kind; right what is no noise."""
    from matplotlib.figure import Figure

    clean, *others = summary["rows"]
    noisy = [row for row in others if row["snr_db"] is not None]
    rest = [row for row in others if row["snr_db"] is None]
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2.1, 1])
    for axes in (left, right):
        _level(axes, clean["f1_macro"]["value"], (0, (5, 3)), "clean")
        _level(axes, summary["f1_macro_majority"], ":", "majority class")
        axes.grid(axis="y", color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
    kinds = dict.fromkeys(row["condition"] for row in noisy)
    for number, kind in enumerate(kinds):
        mine = [row for row in noisy if row["condition"] == kind]
        # Side by side, so that no interval hides another.
        at = [row["snr_db"] + 0.5 * (1 - number) for row in mine]
        look = {"color": COLOURS[number], "marker": "osD"[number], "markersize": 5}
        _points(left, at, mine, label=kind, linestyle=DASHES[number], **look)
    _points(right, range(len(rest)), rest, color="black", linestyle="", marker="o", markersize=5)
    left.set_xticks([row["snr_db"] for row in noisy if row["condition"] == noisy[0]["condition"]])
    left.invert_xaxis()
    left.set(title="Noise", xlabel="signal-to-noise ratio (dB); more noise to the right")
    left.set(ylabel=f"macro-F1 and {100 * LEVEL:.0f} % interval", ylim=(0, 1.02))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    names = [row["condition"].replace(" ", "\n", 1).replace("-", "\N{MINUS SIGN}") for row in rest]
    right.set_xticks(range(len(rest)), names)
    right.set(title="Sign, gain and lead", xlim=(-0.6, len(rest) - 0.4))
    for place, row in enumerate(rest):
        if "note" in row:
            right.text(place, 0.5, row["note"], rotation=90, ha="center", va="center", color=QUIET)
    return figure


def _level(axes: "Axes", value: float, dash: Any, label: str) -> None:
    axes.axhline(value, color=QUIET, linestyle=dash, linewidth=1.3, label=label)


def _points(axes: "Axes", at: Iterable[float], rows: list[dict[str, Any]], **look: Any) -> None:
    """Values with their intervals; what has no value is not drawn."""
    known = [(x, row["f1_macro"]) for x, row in zip(at, rows, strict=True)]
    known = [(x, found) for x, found in known if found["value"] is not None]
    axes.plot([x for x, _ in known], [found["value"] for _, found in known], **look)
    for x, found in known:
        if found["low"] is not None:
            axes.vlines(x, found["low"], found["high"], color=look["color"], linewidth=0.9)
