"""Kaggle's MIT-BIH: 109,446 single beats of five AAMI classes, at 125 Hz, without patients.

The layout is that of `_cut_beats`: mitbih_train.csv (87,554 beats) and mitbih_test.csv (21,892), or
their Parquet twins heart_big_train.parq and heart_big_test.parq; `fetch.form` in params.yaml says
which. Only these files are needed, not those of both forms.

The beats of one patient stand on both sides of the published division, and nobody can put that
right: scores on the test part tell how well beats of known patients are classified, no more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from retrace.datasets._cut_beats import read_beats, tables
from retrace.errors import InputError
from retrace.signals.records import Record

FORMS = (
    {"mitbih_train.csv": "train", "mitbih_test.csv": "test"},
    {"heart_big_train.parq": "train", "heart_big_test.parq": "test"},
)


def records(
    raw_dir: Path, *, labels: Annotated[dict[str, str | None], Field(min_length=2)]
) -> Iterator[Record]:
    """Yield a record for each beat, the training part first; labels of null are left out."""
    found = tables(raw_dir, FORMS)
    if not found:
        raise InputError(
            f"{raw_dir}: neither mitbih_train.csv nor heart_big_train.parq is there; the data set "
            "is one of them and its test part: run dvc repro --force fetch"
        )
    for path, part in found:
        yield from read_beats(path, labels, part)
