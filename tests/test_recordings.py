"""Filtered recordings on disk: what the tables say of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from retrace.datasets import cinc2017
from retrace.files import read_csv
from retrace.signals.recordings import recordings_writer
from retrace.signals.records import Record

LABELS = {"N": "NSR", "A": "AF", "O": "Other", "~": "Noise"}


def _record(name: str, seed: int) -> Record:
    signal = np.random.default_rng(seed).standard_normal((1, 500)).astype(np.float32)
    return Record(record_id=name, fs=100.0, leads=("I",), signal=signal, label="NSR")


def test_an_exact_copy_names_the_record_it_repeats(tmp_path: Path) -> None:
    with recordings_writer(tmp_path) as writer:
        for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 1)):
            writer.append(_record(name, seed))

    rows = read_csv(tmp_path / "records.csv")

    assert [row["same_as"] for row in rows] == ["", "", "a", "a"]
    assert "2 are exact copies" in writer.summary()


REAL = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/challenge-2017/1.0.0"


@pytest.mark.skipif(not REAL.is_dir(), reason="RETRACE_MIRROR is no folder with CinC 2017")
def test_the_two_copies_in_cinc2017_are_found(tmp_path: Path) -> None:
    wanted = ("A00227", "A01176", "A02656", "A03123", "A00001")
    rows = (REAL / "REFERENCE-v3.csv").read_text().splitlines()
    (tmp_path / "REFERENCE-v3.csv").write_text(
        "\n".join(row for row in rows if row.startswith(wanted)) + "\n"
    )
    (tmp_path / "training2017").symlink_to(REAL / "training2017")

    with recordings_writer(tmp_path) as writer:
        for record in cinc2017.records(tmp_path, labels=LABELS):
            writer.append(record)

    copies = {r["record_id"]: r["same_as"] for r in read_csv(tmp_path / "records.csv")}
    assert copies["A01176"] == "A00227"
    assert copies["A03123"] == "A02656"
    assert copies["A00001"] == ""
