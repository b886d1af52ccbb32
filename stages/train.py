"""train: fine-tune or train the model, keep its best epoch -> models/checkpoint."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.learning.data import load_segments
from retrace.learning.outcome import Folders
from retrace.learning.tracked_results import trained
from retrace.learning.trackers import tracked
from retrace.learning.training import run_key, train
from retrace.signals.domain import read_domain

PARAMS, WAVEFORMS, SPLIT = Path("params.yaml"), Path("data/waveforms"), Path("data/split.csv")
OUTPUT = Folders(
    checkpoint=Path("models/checkpoint"),
    curves=Path("metrics/train"),
    plots=Path("plots/train"),
    runs=Path("runs"),
)


def main() -> None:
    settings = params.load(PARAMS)
    inputs = Path("data") / settings.model.input
    array, table = inputs / "X.npy", WAVEFORMS / "segments.csv"
    segments = load_segments(array, table, SPLIT, settings.classes, settings.model.features)
    sources = sorted(Path("retrace").rglob("*.py"))
    files = [array, table, SPLIT]
    key = run_key(settings, [*files, *sources])
    with tracked(settings, key, data=files) as tracker:
        history = train(settings, segments, read_domain(inputs), OUTPUT, key, tracker.epoch)
        trained(tracker, settings, segments, history, OUTPUT, key, PARAMS)
    print(f"best epoch {history.best_epoch + 1}: {settings.train.score} {history.best:.4f}")


if __name__ == "__main__":
    with reported():
        main()
