"""What the stages give to trackers once their own files stand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.files import write_json
from retrace.learning import checkpoint
from retrace.learning.answers import Answers
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.learning.outcome import Folders
from retrace.learning.trackers import Tracker, of_weights
from retrace.learning.tracking import History
from retrace.params import Params
from retrace.scoring.calibration import softmax
from retrace.scoring.figures import draw

EXAMPLE = 2  # segments in a model's input example
# Sections of scores.json, and of its reports by EC57, that name no record and no patient.
NAMELESS = (
    *("unit", "counts", "bootstrap", "overall", "false_af_on_noise", "classes", "at_thresholds"),
    *("baselines", "subgroups", "notes"),
)
NAMELESS_EC57 = ("bootstrap", "counts", "gross", "average", "baselines", "subgroups")


def trained(
    tracker: Tracker,
    params: Params,
    segments: Segments,
    history: History,
    folders: Folders,
    key: str,
    params_file: Path,
) -> None:
    """Of `train`: the best epoch, cost, checkpoint's config, curves, and the validation part."""
    if not tracker.begun:
        return
    cost = json.loads((folders.runs / key / "cost.json").read_text(encoding="utf-8"))
    best = history.rows[history.best_epoch]
    values = {"best_epoch": history.best_epoch + 1.0}
    values |= {f"best_{name}": value for name, value in best.items() if name.startswith("val_")}
    weights = {"retrace.weights": cost.pop("weights_sha256")}
    tracker.result(values | {f"cost/{name}": value for name, value in cost.items()}, weights)
    tracker.artifact(params_file)
    tracker.artifact(folders.plots / "curves.png")
    tracker.artifact(folders.checkpoint / "config.json", "checkpoint")
    for name in ("cost.json", "environment.json"):
        tracker.artifact(folders.runs / key / name)
    tracker.drawn(lambda folder: _validation(folder, params, segments, folders), "validation")


def _validation(folder: Path, params: Params, segments: Segments, folders: Folders) -> None:
    """Confusion, curves and report of the validation part, of which the test part knows nothing."""
    model, config = checkpoint.load(folders.checkpoint)
    rows, rule = segments.rows("val"), params.model.aggregate
    logits = checkpoint.logits(model, segments.X, segments.features, rows, params.batch_size)
    owners, labels = [segments.record_ids[row] for row in rows], segments.labels[rows]
    y, probabilities = per_record(owners, labels, softmax(logits, config["temperature"]), rule)
    _, raw = per_record(owners, labels, softmax(logits, 1.0), rule)
    draw(
        folder,
        y=y,
        probabilities=probabilities,
        raw_probabilities=raw,
        classes=segments.classes,
        unit="beat" if rule == "none" else "record",
        stamp="validation part",
    )
    _report(folder, y, probabilities, segments.classes)


def evaluated(params: Params, weights: Path, answers: Answers, metrics: Path, plots: Path) -> None:
    """Of `evaluate`: the headline as test_<name>, scores, figures and report.

    No row of a patient and no strip leaves the machine by itself.
    """
    with of_weights(params, weights) as tracker:
        if not tracker.begun:
            return
        headline = json.loads(metrics.read_text(encoding="utf-8"))
        scores = json.loads((plots / "scores.json").read_text(encoding="utf-8"))
        tracker.result({f"test_{name}": value for name, value in headline.items()})
        for name in ("confusion.png", "roc.png", "pr.png", "calibration.png"):
            tracker.artifact(plots / name, "test")

        def told(folder: Path) -> None:
            write_json(folder / "scores.json", _nameless(scores))
            _report(folder, answers.y, answers.probabilities, answers.classes)

        tracker.drawn(told, "test")


def exported(params: Params, weights: Path, segments: Segments, onnx: Path) -> None:
    """Of `export`: the model, with noise as the example of its input: no one's ECG leaves."""
    with of_weights(params, weights) as tracker:
        noise = np.random.default_rng(0)
        shapes = {"segments": segments.X.shape[1:], "features": segments.features.shape[1:]}
        tracker.model(
            onnx,
            {
                name: np.abs(noise.normal(0, 0.1, (EXAMPLE, *shape))).astype(np.float32)
                for name, shape in shapes.items()
                if shape != (0,)  # a model without features has no such input
            },
        )


def _nameless(scores: Mapping[str, Any]) -> dict[str, Any]:
    """scores.json without the rows of single records: their names may be those of people."""
    kept = {name: scores[name] for name in NAMELESS if name in scores}
    ec57 = {
        report: {name: own[name] for name in NAMELESS_EC57 if name in own}
        for report, own in (scores.get("ec57") or {}).items()
    }
    return kept | ({"ec57": ec57} if ec57 else {})


def _report(
    folder: Path,
    y: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: list[str],
) -> None:
    from sklearn.metrics import classification_report

    text = classification_report(
        y,
        probabilities.argmax(axis=1),
        labels=range(len(classes)),
        target_names=classes,
        digits=3,
        zero_division=0,
    )
    (folder / "report.txt").write_text(text, encoding="utf-8")
