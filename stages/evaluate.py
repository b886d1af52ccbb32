"""evaluate: open the test part, score its records or its beats -> metrics/test.json, plots/test."""

from pathlib import Path
from typing import Any

import torch

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder, write_csv, write_json
from retrace.learning import checkpoint
from retrace.learning.answers import answer
from retrace.learning.beat_scores import beat_scores
from retrace.learning.data import load_segments
from retrace.learning.separation import separation
from retrace.learning.strips import examples
from retrace.learning.tracked_results import evaluated
from retrace.scoring.beats import record_rows
from retrace.scoring.evaluation import evaluate
from retrace.scoring.figures import draw
from retrace.signals.domain import read_domain
from retrace.signals.recordings import Recordings

DATA, CHECKPOINT = Path("data"), Path("models/checkpoint")
PLOTS, METRICS = Path("plots/test"), Path("metrics/test.json")
FILTERED, WAVEFORMS, SCALOGRAMS = DATA / "filtered", DATA / "waveforms", DATA / "scalograms"


def main() -> None:
    settings = params.load(Path("params.yaml"))
    torch.set_num_threads(settings.threads)  # a network's last bits depend on it
    model, config = checkpoint.load(CHECKPOINT)
    array, table = DATA / settings.model.input / "X.npy", WAVEFORMS / "segments.csv"
    split, features = DATA / "split.csv", settings.model.features
    segments = load_segments(array, table, split, config["classes"], features)
    domain, records = read_domain(WAVEFORMS), Recordings(FILTERED)
    answers = answer(model, config, segments, FILTERED / "records.csv")
    draws: dict[str, Any] = {"resamples": settings.evaluate.resamples, "seed": settings.seed}
    evaluation = evaluate(**answers.scored, **draws)
    scores, method = dict(evaluation.scores), settings.split.method
    if answers.unit == "beat":
        scores |= beat_scores(
            answers, segments, model, config, domain, records, method=method, **draws
        )
    elif method == "intra_patient":
        scores["split"] = separation(segments, method).to_dict()
    shown = examples(
        answers, segments, domain, waveforms=WAVEFORMS, scalograms=SCALOGRAMS, records=records
    )
    with new_folder(PLOTS) as folder:
        write_json(folder / "scores.json", scores)
        answers.write(folder / "predictions.csv", segments)
        if rows := record_rows(scores):
            write_csv(folder / "records.csv", *rows)
        draw(
            folder,
            y=answers.y,
            probabilities=answers.probabilities,
            raw_probabilities=answers.raw_probabilities,
            classes=answers.classes,
            examples=shown,
            unit=answers.unit,
            stamp=scores.get("split", {}).get("stamp"),
        )
    write_json(METRICS, evaluation.headline)
    evaluated(settings, CHECKPOINT / checkpoint.WEIGHTS, answers, METRICS, PLOTS)
    print(f"{len(answers.y)} test {answers.unit}s: see retrace summary and {PLOTS}")


if __name__ == "__main__":
    with reported():
        main()
