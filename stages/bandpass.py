"""bandpass: read every recording, filter it whole, in mV -> data/filtered."""

import importlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_folder
from retrace.signals.filters import filtered
from retrace.signals.recordings import recordings_writer
from retrace.signals.records import Record, unusable
from retrace.workers import spread

RAW, FILTERED = Path("data/raw"), Path("data/filtered")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    dataset = importlib.import_module(f"retrace.datasets.{settings.dataset.name}")
    records = dataset.records(RAW, **settings.dataset_options)
    band, left_out = settings.bandpass, list[str]()
    work = partial(filtered, low=band.low, high=band.high, order=band.order)
    with new_folder(FILTERED) as folder, recordings_writer(folder) as writer, spread() as mapped:
        for record in mapped(work, usable(records, band.unusable, left_out)):
            writer.append(record)
    print(f"{writer.summary()}; left out: {len(left_out)} unusable records")


def usable(records: Iterable[Record], policy: str, left_out: list[str]) -> Iterator[Record]:
    """The records that can be filtered; the names of the others go into `left_out`."""
    for record in records:
        if unusable(record, policy):
            left_out.append(record.record_id)
        else:
            yield record


if __name__ == "__main__":
    with reported():
        main()
