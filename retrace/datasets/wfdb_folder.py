"""Any folder of WFDB records (.hea, .dat) with a labels.csv beside them.

labels.csv: record_id, label and, where they are known, patient_id, age, sex. Records of one
patient stay on one side of a split only if patient_id is given.
"""

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
    """Yield the recordings that labels.csv lists, reduced to `leads`."""
    for record in read_wfdb_folder(raw_dir):
        yield record.with_label(labels).with_leads(leads)
