"""A checkpoint, scored on a part of the segments: every score of its records or its beats."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from retrace import registry
from retrace.errors import InputError
from retrace.files import write_csv, write_json
from retrace.learning import checkpoint
from retrace.learning.answers import Answers, answer
from retrace.learning.beat_scores import beat_scores
from retrace.learning.config import check
from retrace.learning.data import Segments, load_segments
from retrace.learning.separation import separation
from retrace.params import Params
from retrace.scoring.beats import record_rows
from retrace.scoring.evaluation import evaluate as score
from retrace.signals.domain import read_domain
from retrace.signals.recordings import Recordings

Subset = Literal["train", "val", "test"]
MEANT: dict[Subset, str] = {
    "train": "The training part: a model fitted on it is flattered by it.",
    "val": "The validation part: where the epoch, the temperature and the thresholds were chosen "
    "on it, it flatters a little.",
    "test": "The test part: it was opened, so choose nothing by these scores.",
}
STAMPED = (
    "INTRA-PATIENT: patients of this part are in the other parts too, or unknown; these scores "
    "flatter, and say nothing of a new patient."
)


@dataclass(frozen=True)
class Scored:
    """headline: at most twelve flat numbers. scores: the tree that scores.json has. answers: what
    they were counted from, and of which segments."""

    headline: dict[str, float]
    scores: dict[str, Any]
    answers: Answers
    segments: Segments

    def write(self, folder: Path) -> None:
        """scores.json and predictions.csv, and for beats records.csv, into an existing folder."""
        write_json(folder / "scores.json", self.scores)
        self.answers.write(folder / "predictions.csv", self.segments)
        if rows := record_rows(self.scores):
            write_csv(folder / "records.csv", *rows)


def evaluate(data: Path, settings: Params, folder: Path, subset: Subset) -> Scored:
    """Score the checkpoint in `folder` on a subset of the segments below `data`.

    settings: whose stages wrote `data`. Raises InputError where the checkpoint cannot be read, its
    classes or its signal domain are others than those of the data, or the subset is empty.
    """
    torch.set_num_threads(settings.threads)  # a network's last bits depend on it
    check(folder)
    model, config = checkpoint.load(folder)
    asked = data / registry.model_input(config["model"]["name"])
    _require_fit(asked, settings, folder, config)
    table, split = data / "waveforms/segments.csv", data / "split.csv"
    features = config["model"].get("features", [])
    segments = load_segments(asked / "X.npy", table, split, config["classes"], features)
    if not len(segments.rows(subset)):
        raise InputError(
            f"{subset}: no segment of data/split.csv is in it; an evaluation needs some: choose "
            "another --subset, or change split in params.yaml and run dvc repro split"
        )
    if subset != "test":  # `answer` opens the test part: what is asked for takes its place
        closed = np.where(segments.subsets == "test", "closed", segments.subsets)
        subsets = np.where(segments.subsets == subset, "test", closed)
        segments = replace(segments, subsets=subsets)
    answers = answer(model, config, segments, data / "filtered/records.csv")
    draws: dict[str, Any] = {"resamples": settings.evaluate.resamples, "seed": settings.seed}
    evaluation = score(**answers.scored, **draws)
    scores, method = dict(evaluation.scores), settings.split.method
    if answers.unit == "beat":
        domain, records = read_domain(data / "waveforms"), Recordings(data / "filtered")
        scores |= beat_scores(
            answers, segments, model, config, domain, records, method=method, **draws
        )
    elif method == "intra_patient":
        scores["split"] = separation(segments, method).to_dict()
    return Scored(evaluation.headline, scores, answers, segments)


def _require_fit(asked: Path, settings: Params, folder: Path, config: dict[str, Any]) -> None:
    """Raise InputError where the model was made for other classes or other signals."""
    if config["classes"] != settings.classes:
        raise InputError(
            f"{folder}: answers {', '.join(config['classes'])}, and the data have "
            f"{', '.join(settings.classes)}; both must be the same: write its recipe with retrace "
            "recipe, then dvc repro split"
        )
    here = json.loads(json.dumps(read_domain(asked).to_dict()))  # tuples as config.json has them
    made_for = config["domain"]
    other = [name for name in {**made_for, **here} if made_for.get(name) != here.get(name)]
    if other:
        first = other[0]
        raise InputError(
            f"{folder}: made for signals with {first} {made_for.get(first)}, and {asked.name} has "
            f"{here.get(first)}; a model answers only its own signals: write its recipe with "
            "retrace recipe, then dvc repro cwt split"
        )
