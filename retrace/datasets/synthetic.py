"""Recordings made by `retrace.synthesis`: WFDB files, read as any others are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from retrace.signals.records import Record, read_wfdb_folder


def records(
    raw_dir: Path,
    *,
    labels: Annotated[dict[str, str], Field(min_length=2)],
    leads: Annotated[list[str], Field(min_length=1)],
) -> Iterator[Record]:
    """Yield the recordings of `raw_dir`, labelled by rhythm, several for each virtual patient."""
    for record in read_wfdb_folder(raw_dir):
        yield record.with_label(labels).with_leads(leads)
