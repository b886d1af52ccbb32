"""export: the model as ONNX files that need no PyTorch -> models/model.onnx, models/int8."""

from pathlib import Path

import torch

from retrace import params
from retrace.deploy.export import describe, digest, export, manifest
from retrace.errors import reported
from retrace.files import new_file, new_folder, write_json
from retrace.learning import checkpoint
from retrace.learning.data import load_segments
from retrace.learning.tracked_results import exported
from retrace.signals.domain import read_domain

DATA, CHECKPOINT = Path("data"), Path("models/checkpoint")
MODEL, INT8, METRICS = Path("models/model.onnx"), Path("models/int8"), Path("metrics/export.json")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    torch.set_num_threads(settings.threads)  # a network's last bits depend on it
    model, config = checkpoint.load(CHECKPOINT)
    array, table = DATA / settings.model.input / "X.npy", DATA / "waveforms/segments.csv"
    split, features = DATA / "split.csv", settings.model.features
    segments = load_segments(array, table, split, config["classes"], features)
    hashes = {
        "data": digest(manifest(DATA / "raw")),
        "split": digest(split.read_bytes()),
        "weights": digest((CHECKPOINT / checkpoint.WEIGHTS).read_bytes()),
    }
    domain = read_domain(DATA / settings.model.input)
    card = describe(settings, config, domain, hashes)
    with new_file(MODEL) as path, new_folder(INT8) as folder:
        metrics = export(model, segments, card, settings, path, folder)
    write_json(METRICS, metrics)
    exported(settings, CHECKPOINT / checkpoint.WEIGHTS, segments, MODEL)
    print(f"{MODEL}: {metrics['labels_compared']} labels as the checkpoint's; see {METRICS}")


if __name__ == "__main__":
    with reported():
        main()
