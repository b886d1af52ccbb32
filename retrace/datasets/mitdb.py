"""MIT-BIH Arrhythmia Database: 48 half-hour recordings of two leads at 360 Hz, each beat annotated.

Moody and Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Engineering in Medicine and
Biology 20 (2001) 45-50, https://physionet.org/content/mitdb/1.0.0/. A record is NAME.hea, NAME.dat
and NAME.atr. The lead is chosen by name: MLII is the first one in 45 records, the second in 114,
and missing from 102 and 104.

A recording has no label, its beats have: `labels` maps the symbol of a beat to a class. Rhythm
changes, noise and other annotations that are no beats are kept as they are.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from retrace.errors import InputError
from retrace.signals.records import BEATS, Record, read_wfdb, wfdb_names

# Every record is a patient of its own but these: both were cut from one long recording.
PATIENTS = {"202": "201"}


def records(
    raw_dir: Path,
    *,
    labels: Annotated[dict[str, str | None], Field(min_length=2)],
    leads: Annotated[list[str], Field(min_length=1)],
) -> Iterator[Record]:
    """Yield the recordings by name, reduced to `leads`, with all their annotations.

    labels: the class of each symbol in `BEATS` that occurs, None for beats that no segment is to
    be cut from. Raises InputError for a record that lacks one of its three files, and for a beat
    that is not in the map.
    """
    if other := sorted(set(labels) - BEATS):
        raise InputError(
            f"datasets.mitdb.labels: {other[0]!r} is not the symbol of a beat; those are "
            f"{' '.join(sorted(BEATS))}: remove it from params.yaml"
        )
    for name in wfdb_names(raw_dir, "*"):
        if not (raw_dir / f"{name}.atr").is_file():
            raise InputError(
                f"record {name}: {name}.atr is missing; it says where the beats are: run "
                "dvc repro --force fetch"
            )
        record = read_wfdb(raw_dir / name, leads)
        _check(record, labels)
        yield replace(record, patient_id=PATIENTS.get(name, name))


def _check(record: Record, labels: dict[str, str | None]) -> None:
    """Refuse a record without beats, and a beat that the map does not know."""
    if BEATS.isdisjoint(record.symbols):
        raise InputError(
            f"record {record.record_id}: {record.record_id}.atr has no beat; beats are what is "
            "classified: run dvc repro --force fetch"
        )
    for symbol in sorted(BEATS.intersection(record.symbols) - set(labels)):
        sample = record.beats[record.symbols.index(symbol)]
        raise InputError(
            f"record {record.record_id}: beat symbol {symbol!r} at sample {sample}; the map has "
            f"{', '.join(labels)}: add it to labels under datasets in params.yaml, with null to "
            "leave such beats out"
        )
