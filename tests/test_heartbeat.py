"""Kaggle's single beats: two layouts of the same rows, and what is refused by its line."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import yaml
from numpy.typing import NDArray
from pyarrow import parquet

from retrace.datasets.heartbeat import records
from retrace.errors import InputError
from retrace.signals.recordings import recordings_writer
from retrace.sources import fetch, read_sums
from tests import test_graph
from tests.publisher import sha256
from tests.sources import ROOT

LABELS = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["heartbeat"]["labels"]
CSV = ("mitbih_train.csv", "mitbih_test.csv")
PARQUET = ("heart_big_train.parq", "heart_big_test.parq")
Rows = NDArray[np.float64]


def beats(n: int, seed: int = 0) -> Rows:
    """Rows as published: 187 values from 0 to 1, zeros at the end, and a label."""
    rows = np.zeros((n, 188))
    rows[:, :120] = np.random.default_rng(seed).random((n, 120)).astype(np.float32)
    rows[:, 187] = np.arange(n) % 5
    return rows


def write_csv(path: Path, rows: Rows) -> None:
    np.savetxt(path, rows, delimiter=",", fmt="%.18e")


def write_parquet(path: Path, rows: Rows, target: str = "target") -> None:
    """As pandas writes a frame: columns 0 to 186 and the target, and labels of the rows."""
    names = [*map(str, range(187)), target, "__index_level_0__"]
    columns = [*rows.T, np.arange(len(rows))[::-1]]
    parquet.write_table(pyarrow.table(dict(zip(names, columns, strict=True))), path)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The two .csv files: seven beats and three."""
    write_csv(tmp_path / CSV[0], beats(7))
    write_csv(tmp_path / CSV[1], beats(3, seed=1))
    return tmp_path


def test_a_row_is_a_record_of_one_beat(raw: Path) -> None:
    found = list(records(raw, labels=LABELS))

    assert [r.record_id for r in found[:2]] == ["train_00001", "train_00002"]
    assert [r.record_id for r in found[7:]] == ["test_00001", "test_00002", "test_00003"]
    assert [r.part for r in found] == ["train"] * 7 + ["test"] * 3
    assert "".join(str(r.label) for r in found) == "NSVFQNSNSV"
    assert {(r.fs, r.leads, r.patient_id, r.cut) for r in found} == {(125, ("II",), None, True)}
    signals = np.concatenate([r.signal for r in found])
    expected = np.concatenate([beats(7), beats(3, seed=1)])[:, :187]
    assert signals.dtype == np.float32
    assert np.array_equal(signals, expected.astype(np.float32))


def test_parquet_holds_the_same_beats(raw: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    write_parquet(twin / PARQUET[0], beats(7))
    write_parquet(twin / PARQUET[1], beats(3, seed=1))
    for folder, source in (("a", raw), ("b", twin)):
        (tmp_path / folder).mkdir()
        with recordings_writer(tmp_path / folder) as writer:
            for record in records(source, labels=LABELS):
                writer.append(record)

    for name in ("signals.npy", "records.csv", "annotations.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert b"same_as,part\ntrain_00001," in (tmp_path / "a/records.csv").read_bytes()


def test_a_class_may_be_left_out(raw: Path) -> None:
    found = list(records(raw, labels=LABELS | {"0": None, "4": None}))

    assert [r.record_id for r in found[:4]] == [f"train_{n:05d}" for n in (2, 3, 4, 7)]


def _cell(row: int, column: int, value: float) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        cells = lines[row].split(",")
        cells[column] = str(value)
        lines[row] = ",".join(cells)

    return change


def _cut_off(lines: list[str]) -> None:
    lines[2] = lines[2].split(",", 1)[1]


def _insert(line: str) -> Callable[[list[str]], None]:
    return lambda lines: lines.insert(2, line)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut_off, "line 3: 187 values; expected 187 samples and a label"),
        (_insert(""), "line 3: sample 1 is nan; each must be a number from 0 to 1"),
        (_insert(",".join(map(str, range(188)))), "line 3: sample 3 is 2; each must be a number"),
        (_insert(",".join(["x"] * 188)), "line 3: could not convert string to float: 'x'"),
        (_cell(2, 5, float("nan")), "line 3: sample 6 is nan; each must be a number from 0 to 1"),
        (_cell(2, 5, float("inf")), "line 3: sample 6 is inf"),
        (_cell(2, 186, 1.5), "line 3: sample 187 is 1.5"),
        (_cell(6, 0, -0.01), "line 7: sample 1 is -0.01"),
        (_cell(2, 187, 7), "line 3: label 7; the map has 0, 1, 2, 3, 4: .*add the label"),
        (_cell(2, 187, 0.5), "line 3: label 0.5"),
        (_cell(2, 187, float("nan")), "line 3: label nan"),
        (list.clear, "empty; a row is needed for each beat"),
    ],
)
def test_a_row_that_is_no_beat_is_refused_by_its_line(
    damage: Callable[[list[str]], None], words: str, raw: Path
) -> None:
    lines = (raw / CSV[1]).read_text().splitlines() + (raw / CSV[0]).read_text().splitlines()[3:]
    damage(lines)
    (raw / CSV[0]).write_text("".join(f"{line}\n" for line in lines))

    with pytest.raises(InputError, match=rf"mitbih_train\.csv(, |: ){words}"):
        list(records(raw, labels=LABELS))


def test_a_line_far_down_keeps_its_number(raw: Path) -> None:
    row = ",".join(["0.5"] * 187 + ["0"])
    (raw / CSV[0]).write_text(f"{row}\n" * 9000 + row.replace("0.5", "2", 1) + "\n")

    with pytest.raises(InputError, match="line 9001: sample 1 is 2"):
        list(records(raw, labels=LABELS))


def test_bytes_that_are_no_text_are_refused(raw: Path) -> None:
    (raw / CSV[0]).write_bytes(b"PK\x03\x04" + bytes(range(256)))

    with pytest.raises(InputError, match=r"mitbih_train\.csv, line 1: "):
        list(records(raw, labels=LABELS))


def _far_down(path: Path) -> None:
    rows = np.full((5000, 188), 0.5)
    rows[:, 187], rows[4321, 7] = 1, np.nan
    write_parquet(path, rows)


def _words(path: Path) -> None:
    names = [*map(str, range(187)), "target"]
    parquet.write_table(pyarrow.table({name: ["x", "y"] for name in names}), path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: write_parquet(p, beats(3), target="label"), "188 columns, 0 of them target"),
        (lambda p: write_parquet(p, beats(0)), "empty; a row is needed"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "cannot be read whole .*: put the publ"),
        (lambda p: p.write_bytes(p.read_bytes()[:90]), "cannot be read whole"),
        (lambda p: p.write_bytes(b""), "empty; a row is needed"),
        (lambda p: p.write_bytes(b"0.5,0.5\n" * 9), "cannot be read whole"),
        (_words, "cannot be read whole .*could not convert string to float"),
        (_far_down, "line 4322: sample 8 is nan"),
    ],
)
def test_another_parquet_file_is_refused(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    for name in PARQUET:
        write_parquet(tmp_path / name, beats(5))
    make(tmp_path / PARQUET[1])

    with pytest.raises(InputError, match=rf"heart_big_test\.parq(, |: ){words}"):
        list(records(tmp_path, labels=LABELS))


def test_one_part_without_the_other_is_refused(raw: Path) -> None:
    (raw / CSV[1]).unlink()

    with pytest.raises(InputError, match=r"mitbih_test\.csv is missing; .* belong together"):
        list(records(raw, labels=LABELS))
    (raw / CSV[0]).unlink()
    with pytest.raises(InputError, match=r"neither mitbih_train\.csv nor heart_big_train\.parq"):
        list(records(raw, labels=LABELS))


def test_without_pyarrow_the_remedy_is_named(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(InputError, match="pyarrow, which is not installed: run `make`"):
        list(records(raw, labels=LABELS))


def test_fetch_takes_the_form_that_is_asked_for_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, mirror = tmp_path / "stages", tmp_path / "mirror"
    (stages / "sources").mkdir(parents=True)
    (stages / "sources.yaml").write_bytes((ROOT / "stages/sources.yaml").read_bytes())
    places = dict.fromkeys(CSV, "www.kaggle.com/datasets/shayanfazeli/heartbeat")
    places |= dict.fromkeys(PARQUET, "github.com/raoulg/MADS-exam-25/raw/main/data")
    for name, place in places.items():
        (mirror / place).mkdir(parents=True, exist_ok=True)
        (mirror / place / name).write_text(name)
    (stages / "sources/heartbeat.sha256").write_text(
        "".join(f"{sha256(name.encode())}  {name}\n" for name in places)
    )
    monkeypatch.setenv("RETRACE_MIRROR", str(mirror))

    for form, names in ((None, CSV), ("csv", CSV), ("parquet", PARQUET)):
        fetch("heartbeat", tmp_path / "raw", sources=stages, form=form)
        assert {path.name for path in (tmp_path / "raw").iterdir()} == {*names, "manifest.csv"}
        assert f"https://{places[names[0]]}/" in (tmp_path / "raw/manifest.csv").read_text()

    with pytest.raises(InputError, match=r"fetch\.form: expected csv, parquet; got 'wfdb'"):
        fetch("heartbeat", tmp_path / "raw", sources=stages, form="wfdb")
    with pytest.raises(InputError, match=r"fetch\.form: expected null, since .*; got 'csv'"):
        fetch("mitdb", tmp_path / "raw", sources=stages, form="csv")
    (mirror / places[CSV[1]] / CSV[1]).unlink()
    with pytest.raises(
        InputError, match=r"Kaggle wants an account.*put the file at .*heartbeat/mitbih_test\.csv"
    ):
        fetch("heartbeat", tmp_path / "raw", sources=stages)


def test_the_committed_hashes_are_those_of_the_published_files() -> None:
    sums = read_sums(ROOT / "stages/sources/heartbeat.sha256")

    assert set(sums) == {*CSV, *PARQUET}
    assert [sums[name][:8] for name in CSV] == ["ae4c8050", "f3fdb3fd"]


@pytest.mark.parametrize("name", ["heartbeat", "mitdb", "ptbdb"])
def test_every_module_of_the_data_set_is_a_dep(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(test_graph.PARAMS["dataset"], "name", name)

    test_graph.test_every_module_that_a_stage_runs_is_a_dep("bandpass")
