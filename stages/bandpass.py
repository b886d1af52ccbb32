"""bandpass: read every recording, filter it whole, in mV -> data/filtered."""

import importlib
from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder
from retrace.signals.filters import filtered
from retrace.signals.recordings import recordings_writer
from retrace.signals.records import unusable

RAW, FILTERED = Path("data/raw"), Path("data/filtered")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    dataset = importlib.import_module(f"retrace.datasets.{settings.dataset.name}")
    band, left_out = settings.bandpass, 0
    with new_folder(FILTERED) as folder, recordings_writer(folder) as writer:
        for record in dataset.records(RAW, **settings.dataset_options):
            if unusable(record, band.unusable):
                left_out += 1
                continue
            writer.append(filtered(record, low=band.low, high=band.high, order=band.order))
    print(f"{writer.summary()}; left out: {left_out} unusable records")


if __name__ == "__main__":
    with reported():
        main()
