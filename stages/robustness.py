"""robustness: the test part again with noise, wrong sign, gain or lead -> plots/robustness."""

import importlib
from pathlib import Path

import torch

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder
from retrace.learning import checkpoint
from retrace.learning.data import load_segments
from retrace.learning.robustness import CONDITIONS, OtherLeads, answer_worse, drawn, predictions
from retrace.scoring.robustness import summarise, write
from retrace.signals.domain import read_domain

DATA, RAW, PLOTS = Path("data"), Path("data/raw"), Path("plots/robustness")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    torch.set_num_threads(settings.threads)  # a network's last bits depend on it
    model, config = checkpoint.load(Path("models/checkpoint"))
    inputs, table = DATA / settings.model.input, DATA / "waveforms/segments.csv"
    segments = load_segments(
        inputs / "X.npy", table, DATA / "split.csv", config["classes"], settings.model.features
    )
    rows = drawn(segments, settings.robustness.segments, config["aggregate"], settings.seed)
    dataset = importlib.import_module(f"retrace.datasets.{settings.dataset.name}")
    logits = answer_worse(
        model,
        segments,
        rows,
        dataset.records(RAW, **settings.dataset_options),
        OtherLeads(RAW),
        plan=settings.plan,
        domain=read_domain(inputs),
        features=settings.model.features,
        seed=settings.seed,
    )
    y, predicted, people = predictions(logits, segments, rows, config)
    summary = summarise(
        CONDITIONS,
        y,
        predicted,
        segments.classes,
        people,
        unit="beat" if config["aggregate"] == "none" else "record",
        segments=len(rows),
        of=len(segments.rows("test")),
        resamples=settings.evaluate.resamples,
        seed=settings.seed,
    )
    with new_folder(PLOTS) as folder:
        write(folder, summary)
    print(f"{len(y)} answers under {len(CONDITIONS)} conditions: see {PLOTS}")


if __name__ == "__main__":
    with reported():
        main()
