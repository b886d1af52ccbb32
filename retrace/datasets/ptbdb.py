"""PTB Diagnostic ECG Database: healthy or not, as recordings or as Kaggle's single beats.

Bousseljot, Kreiseler and Schnabel, "Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das
Internet", Biomedizinische Technik 40 (1995) 317-318, https://physionet.org/content/ptbdb/1.0.0/.
One of three forms, which `fetch.form` in params.yaml names, is enough:

csv      Kaggle's ptbdb_normal.csv (4,046 beats) and ptbdb_abnormal.csv (10,506), in the layout of
         `_cut_beats`: lead II of healthy controls and of patients with myocardial infarction, 125
         Hz, no patients named
parquet  the same beats as heart_train.parq and heart_test.parq, divided at random
wfdb     PhysioNet's 549 recordings of 290 patients, 1,000 Hz, 15 leads (i, ii, ... v6, vx, vy, vz),
         patientNNN/NAME.hea, .dat and .xyz: a recording's class comes from the comment "Reason for
         admission" of its header, and those whose class is null are left out
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from retrace.datasets._cut_beats import read_beats, tables
from retrace.errors import InputError
from retrace.signals.records import Record, read_header, read_wfdb, wfdb_names

FORMS = (
    {"ptbdb_normal.csv": "normal", "ptbdb_abnormal.csv": "abnormal"},
    {"heart_train.parq": "train", "heart_test.parq": "test"},
)
_REASON = "Reason for admission"


def records(
    raw_dir: Path,
    *,
    labels: Annotated[dict[str, str | None], Field(min_length=2)],
    leads: Annotated[list[str], Field(min_length=1)],
) -> Iterator[Record]:
    """Yield Kaggle's beats where they are there, else PhysioNet's recordings, reduced to `leads`.

    labels: the class of Kaggle's 0 and 1, and of each reason for admission; None leaves such a
    record out. `leads` says nothing of Kaggle's beats.
    """
    found = tables(raw_dir, FORMS)
    for path, content in found:
        yield from read_beats(path, labels, content)
    if not found:
        yield from _recordings(raw_dir, labels, leads)


def _recordings(raw_dir: Path, labels: dict[str, str | None], leads: list[str]) -> Iterator[Record]:
    names = wfdb_names(raw_dir, "patient*/*")
    if not names:
        raise InputError(
            f"{raw_dir}: neither ptbdb_normal.csv nor heart_train.parq nor patient001/ is there; "
            "the data set is one of these forms: run dvc repro --force fetch"
        )
    for name in names:
        path = raw_dir / name
        record = replace(
            read_wfdb(path, leads),
            record_id=name,
            patient_id=path.parent.name,
            label=_reason(path),
        ).with_label(labels)
        if record.label is not None:
            yield record


def _reason(path: Path) -> str:
    """Why the patient came to hospital, in the words of the record's header."""
    for comment in read_header(path).comments:
        key, _, value = comment.partition(":")
        if key.strip() == _REASON:
            return str(value.strip())
    raise InputError(
        f'record {path.name}: its header has no comment "{_REASON}: ...", which is its label: '
        "obtain the published header again"
    )
