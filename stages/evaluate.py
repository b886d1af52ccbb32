"""evaluate: open the test part, score its records or its beats -> metrics/test.json, plots/test."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder, write_json
from retrace.learning import checkpoint
from retrace.learning.evaluate import evaluate
from retrace.learning.strips import examples
from retrace.learning.tracked_results import evaluated
from retrace.scoring.figures import draw
from retrace.signals.domain import read_domain
from retrace.signals.recordings import Recordings

DATA, CHECKPOINT = Path("data"), Path("models/checkpoint")
PLOTS, METRICS = Path("plots/test"), Path("metrics/test.json")
WAVEFORMS, SCALOGRAMS = DATA / "waveforms", DATA / "scalograms"


def main() -> None:
    settings = params.load(Path("params.yaml"))
    scored = evaluate(DATA, settings, CHECKPOINT, "test")
    answers = scored.answers
    shown = examples(
        answers,
        scored.segments,
        read_domain(WAVEFORMS),
        waveforms=WAVEFORMS,
        scalograms=SCALOGRAMS,
        records=Recordings(DATA / "filtered"),
    )
    with new_folder(PLOTS) as folder:
        scored.write(folder)
        draw(
            folder,
            y=answers.y,
            probabilities=answers.probabilities,
            raw_probabilities=answers.raw_probabilities,
            classes=answers.classes,
            examples=shown,
            unit=answers.unit,
            stamp=scored.scores.get("split", {}).get("stamp"),
        )
    write_json(METRICS, scored.headline)
    evaluated(settings, CHECKPOINT / checkpoint.WEIGHTS, answers, METRICS, PLOTS)
    print(f"{len(answers.y)} test {answers.unit}s: see retrace summary and {PLOTS}")


if __name__ == "__main__":
    with reported():
        main()
