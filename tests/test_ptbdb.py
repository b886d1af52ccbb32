"""PTB Diagnostic: Kaggle's beats or PhysioNet's recordings, whichever is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
import yaml

from retrace import params
from retrace.datasets.ptbdb import records
from retrace.errors import InputError
from retrace.sources import fetch, read_sums
from tests.publisher import SHORT, Publisher, sha256
from tests.sources import ROOT
from tests.test_heartbeat import beats, write_csv, write_parquet

OPTIONS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["ptbdb"]


def write(folder: Path, name: str, reason: str, *, comment: str = "Reason for admission") -> None:
    """A second of the published layout: limb leads in .dat, the vectors in .xyz, 2,000 per mV."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    stem = Path(name).name
    leads = ["i", "ii", "vx"]
    digital = (np.arange(1000)[:, None] * [1, 2, 3]).astype(np.int64)
    wfdb.Record(
        record_name=stem,
        n_sig=3,
        fs=1000,
        sig_len=1000,
        file_name=[f"{stem}.dat", f"{stem}.dat", f"{stem}.xyz"],
        fmt=["16"] * 3,
        byte_offset=[None] * 3,
        adc_gain=[2000.0] * 3,
        baseline=[0] * 3,
        units=["mV"] * 3,
        adc_res=[16] * 3,
        adc_zero=[0] * 3,
        init_value=[0] * 3,
        checksum=[int(value) for value in digital.sum(axis=0) % 65536],
        block_size=[0] * 3,
        sig_name=leads,
        d_signal=digital,
        comments=["age: 81", "sex: female", "Diagnose:", f"{comment}: {reason}", "Smoker: no"],
    ).wrsamp(write_dir=str((folder / name).parent))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four recordings of three patients."""
    write(tmp_path, "patient001/s0010_re", "Myocardial infarction")
    write(tmp_path, "patient001/s0014lre", "Myocardial infarction")
    write(tmp_path, "patient104/s0306lre", "Healthy control")
    write(tmp_path, "patient200/s0400_re", "Bundle branch block")
    return tmp_path


def test_a_recording_has_the_class_of_its_header_and_the_lead_by_name(raw: Path) -> None:
    found = list(records(raw, **OPTIONS))

    assert [(r.record_id, r.patient_id, r.label) for r in found] == [
        ("patient001/s0010_re", "patient001", "abnormal"),
        ("patient001/s0014lre", "patient001", "abnormal"),
        ("patient104/s0306lre", "patient104", "normal"),
    ]
    first = found[0]
    assert (first.fs, first.age, first.sex, first.leads) == (1000, 81, "F", ("ii",))
    assert (first.part, first.cut) == (None, False)
    np.testing.assert_allclose(first.signal[0], np.arange(1000) * 2 / 2000, rtol=1e-6)


def test_a_lead_of_the_other_file_is_found_too(raw: Path) -> None:
    first, *_ = records(raw, labels=OPTIONS["labels"], leads=["vx", "i"])

    assert first.leads == ("vx", "i")
    assert first.signal[:, -1].tolist() == [np.float32(999 * 3 / 2000), np.float32(999 / 2000)]


@pytest.mark.parametrize("suffix", [".hea", ".dat", ".xyz"])
def test_a_recording_without_one_of_its_files_is_named(raw: Path, suffix: str) -> None:
    (raw / f"patient104/s0306lre{suffix}").unlink()

    with pytest.raises(InputError, match=rf"record s0306lre: s0306lre\{suffix} is missing"):
        list(records(raw, **OPTIONS))


def test_what_a_header_or_the_map_lacks_is_named(raw: Path) -> None:
    with pytest.raises(InputError, match=r"s0010_re: no lead II; it has i, ii, vx"):
        list(records(raw, labels=OPTIONS["labels"], leads=["II"]))
    write(raw, "patient002/s0015lre", "Flu")
    with pytest.raises(InputError, match=r"patient002/s0015lre: label 'Flu'; the map has 0, 1, He"):
        list(records(raw, **OPTIONS))
    write(raw, "patient002/s0015lre", "n/a", comment="Admission")
    with pytest.raises(InputError, match=r'record s0015lre: .* no comment "Reason for admission'):
        list(records(raw, **OPTIONS))


def test_kaggles_beats_are_enough(tmp_path: Path) -> None:
    for number, name in enumerate(("normal", "abnormal")):
        rows = beats(3)
        rows[:, 187] = number
        write_csv(tmp_path / f"ptbdb_{name}.csv", rows)

    found = list(records(tmp_path, **OPTIONS))

    assert [r.record_id for r in found[2:4]] == ["normal_00003", "abnormal_00001"]
    assert [r.label for r in found] == ["normal"] * 3 + ["abnormal"] * 3
    assert {(r.part, r.fs, r.cut, r.patient_id) for r in found} == {(None, 125, True, None)}


def test_the_parquet_twins_are_enough(tmp_path: Path) -> None:
    for name in ("train", "test"):
        rows = beats(2)
        write_parquet(tmp_path / f"heart_{name}.parq", rows)

    found = list(records(tmp_path, **OPTIONS))

    assert [(r.record_id, r.part, r.label) for r in found[1:3]] == [
        ("train_00002", "train", "abnormal"),
        ("test_00001", "test", "normal"),
    ]


def test_a_label_of_mitbih_is_refused(tmp_path: Path) -> None:
    for name in ("normal", "abnormal"):
        write_csv(tmp_path / f"ptbdb_{name}.csv", beats(3))

    with pytest.raises(InputError, match=r"ptbdb_normal\.csv, line 3: label 2; the map has 0, 1: "):
        list(records(tmp_path, **OPTIONS))


def test_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither ptbdb_normal\.csv nor heart_train\.parq nor pa"):
        list(records(tmp_path, **OPTIONS))


def test_the_classes_leave_out_what_is_null(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"dataset": {"name": "ptbdb"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))

    assert params.load(tmp_path / "params.yaml").classes == ["normal", "abnormal"]


@pytest.fixture
def stages(publisher: Publisher, tmp_path: Path) -> Path:
    """The committed entry, but its recordings at the local server."""
    entry = yaml.safe_load((ROOT / "stages/sources.yaml").read_text())["ptbdb"]
    entry["forms"]["wfdb"]["url"] = f"{publisher.url}/ptbdb/"
    (tmp_path / "stages/sources").mkdir(parents=True)
    (tmp_path / "stages/sources.yaml").write_text(yaml.safe_dump({"ptbdb": entry}))
    sums = (ROOT / "stages/sources/ptbdb.sha256").read_text()
    (tmp_path / "stages/sources/ptbdb.sha256").write_text(sums)
    return tmp_path / "stages"


def publish(publisher: Publisher, folder: Path) -> dict[str, bytes]:
    """The recordings, and a list of SHA-256 in which there is more than these."""
    write(folder, "patient001/s0010_re", "Myocardial infarction")
    files = {f"patient001/{p.name}": p.read_bytes() for p in (folder / "patient001").iterdir()}
    listed = "".join(f"{sha256(body)} {name}\n" for name, body in files.items())
    listed += f"{sha256(b'')} CONTROLS\n"
    files["SHA256SUMS.txt"] = listed.encode()
    publisher.files |= {f"/ptbdb/{name}": body for name, body in files.items()}
    return files


def test_recordings_are_checked_against_the_publishers_own_list(
    publisher: Publisher, stages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = publish(publisher, tmp_path / "published")

    fetch("ptbdb", tmp_path / "raw", sources=stages, form="wfdb", patience=SHORT)

    for name, body in files.items():
        assert (tmp_path / "raw" / name).read_bytes() == body
    listed = sha256(files["SHA256SUMS.txt"])
    said = capsys.readouterr().out
    assert said == f"{publisher.url}/ptbdb/SHA256SUMS.txt: not pinned; its SHA-256 is {listed}\n"
    assert f"/SHA256SUMS.txt,{listed}," in (tmp_path / "raw/manifest.csv").read_text()
    assert [r.label for r in records(tmp_path / "raw", **OPTIONS)] == ["abnormal"]


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("patient001/s0010_re.xyz", b"other", r"s0010_re\.xyz: its SHA-256 is .*run the command"),
        ("SHA256SUMS.txt", b"<html>", r"SHA256SUMS\.txt: what has arrived is no list of SHA-256"),
    ],
)
def test_another_file_than_the_publishers_is_refused(
    name: str, body: bytes, words: str, publisher: Publisher, stages: Path, tmp_path: Path
) -> None:
    publish(publisher, tmp_path / "published")
    publisher.files[f"/ptbdb/{name}"] = body

    with pytest.raises(InputError, match=words):
        fetch("ptbdb", tmp_path / "data/raw", sources=stages, form="wfdb", patience=SHORT)
    assert not list((tmp_path / "data").iterdir())


def test_kaggles_hashes_are_pinned() -> None:
    sums = read_sums(ROOT / "stages/sources/ptbdb.sha256")

    assert sums["ptbdb_normal.csv"].startswith("033d355e")
    assert sums["ptbdb_abnormal.csv"].startswith("27b4a37c")
