"""evaluate: open the test part, score it per record -> metrics/test.json, plots/test."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder, write_json
from retrace.learning import checkpoint
from retrace.learning.answers import answer, examples
from retrace.learning.data import load_segments
from retrace.scoring.evaluation import evaluate
from retrace.scoring.figures import draw
from retrace.signals.domain import read_domain

DATA, PLOTS, METRICS = Path("data"), Path("plots/test"), Path("metrics/test.json")
WAVEFORMS, SCALOGRAMS = DATA / "waveforms", DATA / "scalograms"


def main() -> None:
    settings = params.load(Path("params.yaml"))
    network, config = checkpoint.load(Path("models/checkpoint"))
    array, table = DATA / settings.model.input / "X.npy", WAVEFORMS / "segments.csv"
    segments = load_segments(array, table, DATA / "split.csv", config["classes"])
    answers = answer(network, config, segments, DATA / "filtered/records.csv")
    evaluation = evaluate(
        **vars(answers), resamples=settings.evaluate.resamples, seed=settings.seed
    )
    shown = examples(answers, segments, WAVEFORMS, read_domain(WAVEFORMS).fs, SCALOGRAMS)
    with new_folder(PLOTS) as folder:
        write_json(folder / "scores.json", evaluation.scores)
        answers.write(folder / "predictions.csv")
        draw(
            folder,
            y=answers.y,
            probabilities=answers.probabilities,
            raw_probabilities=answers.raw_probabilities,
            classes=answers.classes,
            examples=shown,
        )
    write_json(METRICS, evaluation.headline)
    print(f"{len(answers.y)} test records: see retrace summary and {PLOTS}")


if __name__ == "__main__":
    with reported():
        main()
