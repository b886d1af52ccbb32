"""MIT-BIH: leads by name, every annotation kept, and no beat without a class in the map."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
import yaml

from retrace.datasets.mitdb import records
from retrace.errors import InputError, reported
from retrace.signals.filters import filtered
from retrace.signals.records import BEATS, read_wfdb, unusable
from retrace.sources import describe, fetch, read_sums
from stages import bandpass
from tests.sources import ROOT

OPTIONS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["mitdb"]
MIRROR = Path(os.environ.get("RETRACE_MIRROR", ""))
REAL = MIRROR / "physionet.org/files/mitdb/1.0.0"
needs_mirror = pytest.mark.skipif(
    not REAL.is_dir(), reason="RETRACE_MIRROR is no folder with mitdb"
)


def write(
    folder: Path, name: str, leads: tuple[str, ...] = ("MLII", "V5"), symbols: str = '+N"V~'
) -> None:
    """Three seconds of the published layout; each lead has a level of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    wave = np.sin(np.arange(1080) / 9)[:, None] + np.arange(1, len(leads) + 1)
    wfdb.wrsamp(
        name,
        fs=360,
        units=["mV"] * len(leads),
        sig_name=list(leads),
        p_signal=wave,
        fmt=["212"] * len(leads),
        adc_gain=[200.0] * len(leads),
        baseline=[1024] * len(leads),
        comments=["69 M 1085 1629 x1", "Aldomet, Inderal"],
        write_dir=str(folder),
    )
    at = np.arange(1, len(symbols) + 1) * 100
    subtypes = np.arange(len(symbols))
    wfdb.wrann(name, "atr", at, symbol=list(symbols), subtype=subtypes, write_dir=str(folder))


def test_a_record_has_its_patient_and_all_of_its_annotations(tmp_path: Path) -> None:
    for name in ("202", "100", "201"):
        write(tmp_path, name)

    found = list(records(tmp_path, **OPTIONS))

    assert [(r.record_id, r.patient_id) for r in found] == [
        ("100", "100"),
        ("201", "201"),
        ("202", "201"),
    ]
    first = found[0]
    assert (first.fs, first.age, first.sex, first.label, first.part) == (360, 69, "M", None, None)
    assert (first.beats.tolist(), "".join(first.symbols)) == ([100, 200, 300, 400, 500], '+N"V~')
    assert first.subtypes == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("leads", "taken"),
    [(("V5", "MLII"), "MLII"), (("V5", "V2"), "V5"), (("V1", "V5", "MLII"), "MLII")],
)
def test_a_lead_is_taken_by_name(tmp_path: Path, leads: tuple[str, ...], taken: str) -> None:
    write(tmp_path, "114", leads)

    (record,) = records(tmp_path, **OPTIONS)

    assert record.leads == (taken,)
    assert record.signal.mean() == pytest.approx(leads.index(taken) + 1, abs=0.05)


def test_an_absent_lead_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "102", ("V5", "V2"))

    with pytest.raises(InputError, match="record 102: no lead MLII; it has V5, V2: name one"):
        list(records(tmp_path, labels=OPTIONS["labels"], leads=["MLII"]))


@pytest.mark.parametrize("suffix", [".hea", ".dat", ".atr"])
def test_a_record_without_one_of_its_files_is_named(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, "100")
    write(tmp_path, "101")
    (tmp_path / f"101{suffix}").unlink()

    with pytest.raises(InputError, match=rf"record 101: 101\{suffix} is missing"):
        list(records(tmp_path, **OPTIONS))


def test_a_beat_that_the_map_lacks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "100", symbols="NNV")
    labels = {symbol: name for symbol, name in OPTIONS["labels"].items() if symbol != "V"}

    with pytest.raises(InputError, match=r"record 100: beat symbol 'V' at sample 300; .*null to"):
        list(records(tmp_path, labels=labels, leads=["MLII"]))


def test_a_beat_may_be_left_without_a_class(tmp_path: Path) -> None:
    write(tmp_path, "100", symbols="N/V")

    (record,) = records(tmp_path, labels=OPTIONS["labels"] | {"/": None}, leads=["MLII"])

    assert record.symbols == ("N", "/", "V")


def test_what_is_no_beat_has_no_class(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"datasets\.mitdb\.labels: '\+' is not the symbol"):
        list(records(tmp_path, labels={"N": "N", "+": "V"}, leads=["MLII"]))


def test_the_map_has_every_beat_and_the_classes_in_their_order() -> None:
    assert set(OPTIONS["labels"]) == BEATS
    assert list(dict.fromkeys(OPTIONS["labels"].values())) == ["N", "S", "V", "F", "Q"]


def test_the_stage_says_it_in_one_sentence_and_leaves_the_old_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"dataset": {"name": "mitdb"}}
    values["model"]["aggregate"], values["segment"]["anchor"] = "none", "beat"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    for name in ("100", "101"):
        write(tmp_path / "data/raw", name)
    monkeypatch.chdir(tmp_path)
    bandpass.main()
    before = {path.name: path.read_bytes() for path in (tmp_path / "data/filtered").iterdir()}
    (tmp_path / "data/raw/101.atr").unlink()
    capsys.readouterr()

    with pytest.raises(SystemExit), reported():
        bandpass.main()

    assert capsys.readouterr().err.startswith("error: record 101: 101.atr is missing; ")
    assert {p.name: p.read_bytes() for p in (tmp_path / "data/filtered").iterdir()} == before
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"raw", "filtered"}


@needs_mirror
def test_the_pinned_files_are_the_publishers(tmp_path: Path) -> None:
    sums = read_sums(ROOT / "stages/sources/mitdb.sha256")

    assert "10.13026/C2F305" in describe("mitdb", ROOT / "stages").citation
    assert len(sums) == 3 * 48
    assert sums.items() <= read_sums(REAL / "SHA256SUMS.txt").items()
    fetch("mitdb", tmp_path / "raw", sources=ROOT / "stages")
    content = (tmp_path / "raw/234.atr").read_bytes()
    assert hashlib.sha256(content).hexdigest() == sums["234.atr"]


@needs_mirror
def test_the_published_recordings_are_whole() -> None:
    found, beats = [], Counter[str]()
    for record in records(REAL, **OPTIONS):
        assert not unusable(record, "error")
        assert record.signal.shape == (1, 650_000)
        found.append((record.record_id, record.patient_id, record.leads))
        beats.update(record.symbols)

    assert len(found) == 48
    assert len({patient for _, patient, _ in found}) == 47
    assert {name for name, _, leads in found if leads != ("MLII",)} == {"102", "104"}
    classes = Counter[str]()
    for symbol in BEATS & set(beats):
        classes[OPTIONS["labels"][symbol]] += beats[symbol]
    assert beats.total() == 112_647
    assert classes == {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}


@needs_mirror
@pytest.mark.parametrize("name", ["100", "114"])
def test_a_published_recording_is_read_as_wfdb_reads_it(name: str) -> None:
    stored = wfdb.rdrecord(str(REAL / name), physical=False)

    record = read_wfdb(REAL / name, ["MLII"])

    column = stored.sig_name.index("MLII")
    assert record.signal.tobytes() == stored.dac().astype(np.float32)[:, column].tobytes()
    assert filtered(record, low=0.5, high=50, order=0) is record
