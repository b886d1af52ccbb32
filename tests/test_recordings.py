"""Filtered recordings on disk: what the tables say of them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrace.datasets import cinc2017
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.signals.recordings import (
    ANNOTATION_COLUMNS,
    RECORD_COLUMNS,
    Recordings,
    recordings_writer,
)
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


def _annotated(name: str, samples: list[int], symbols: str, subtypes: list[int]) -> Record:
    return replace(
        _record(name, len(name)),
        label=None,
        beats=np.array(samples, np.int64),
        symbols=tuple(symbols),
        subtypes=tuple(subtypes),
    )


def test_each_record_has_its_annotations_back(tmp_path: Path) -> None:
    written = [
        _annotated("a", [3, 77, 400], 'N"+', [0, 0, 3]),
        _annotated("bb", [], "", []),
        _annotated("ccc", [5], "|", [-1]),
    ]
    with recordings_writer(tmp_path) as writer:
        for record in written:
            writer.append(record)

    found = list(Recordings(tmp_path))

    for record, original in zip(found, written, strict=True):
        assert np.array_equal(record.signal, original.signal)
        assert record.beats.tolist() == original.beats.tolist()
        assert (record.symbols, record.subtypes) == (original.symbols, original.subtypes)
        assert record.label is None
    assert writer.summary().endswith("3 records: 4 annotations")


def test_a_table_has_only_the_columns_of_its_first_record(tmp_path: Path) -> None:
    for name, record in (
        ("plain", replace(_annotated("a", [3], "N", []), label="NSR")),
        ("rich", replace(_annotated("a", [3], "N", [0]), label="NSR", part="test")),
    ):
        (tmp_path / name).mkdir()
        with recordings_writer(tmp_path / name) as writer:
            writer.append(record)

    headers = {
        (name, table): (tmp_path / name / f"{table}.csv").read_text().splitlines()[0].split(",")
        for name in ("plain", "rich")
        for table in ("records", "annotations")
    }
    assert headers == {
        ("plain", "records"): [*RECORD_COLUMNS],
        ("plain", "annotations"): [*ANNOTATION_COLUMNS],
        ("rich", "records"): [*RECORD_COLUMNS, "part"],
        ("rich", "annotations"): [*ANNOTATION_COLUMNS, "subtype"],
    }
    (plain,), (rich,) = Recordings(tmp_path / "plain"), Recordings(tmp_path / "rich")
    assert (plain.part, plain.subtypes) == (None, ())
    assert (rich.part, rich.subtypes) == ("test", (0,))


def test_annotations_of_another_recording_are_refused(tmp_path: Path) -> None:
    with recordings_writer(tmp_path) as writer:
        writer.append(_annotated("a", [3], "N", [0]))
    with (tmp_path / "annotations.csv").open("a") as stream:
        stream.write("b,7,N,0\n")

    with pytest.raises(InputError, match=r"annotations\.csv: record b is not in records\.csv"):
        list(Recordings(tmp_path))


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
