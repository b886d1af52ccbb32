"""Reading recordings: WFDB files of the published layouts, and what is wrong with broken ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb
from numpy.typing import NDArray

from retrace.datasets import cinc2017, wfdb_folder
from retrace.errors import InputError
from retrace.files import write_csv
from retrace.signals.records import Record, read_wfdb, unusable

LABELS = {"N": "NSR", "A": "AF"}


def _write(
    folder: Path, name: str = "r1", units: str = "mV", fmt: str = "212"
) -> NDArray[np.float64]:
    """A record of two leads, a ramp and a sine, with two annotated beats."""
    t = np.arange(720) / 360
    signal = np.stack([t - 1, np.sin(2 * np.pi * 5 * t)], axis=1)
    wfdb.wrsamp(
        name,
        fs=360,
        units=[units] * 2,
        sig_name=["V5", "MLII"],
        p_signal=signal,
        fmt=[fmt] * 2,
        adc_gain=[200.0] * 2,
        baseline=[0, 0],
        comments=["69 M 1085 1629 x1"],
        write_dir=str(folder),
    )
    wfdb.wrann(name, "atr", np.array([100, 400]), symbol=["N", "V"], write_dir=str(folder))
    return signal


def test_a_record_is_read_in_millivolts_lead_first(tmp_path: Path) -> None:
    signal = _write(tmp_path)

    record = read_wfdb(tmp_path / "r1")

    assert (record.fs, record.leads) == (360, ("V5", "MLII"))
    assert record.signal.dtype == np.float32
    np.testing.assert_allclose(record.signal, signal.T, atol=0.5 / 200 + 1e-6)
    assert (record.beats.tolist(), record.symbols) == ([100, 400], ("N", "V"))
    assert (record.age, record.sex) == (69, "M")


def test_microvolts_become_millivolts(tmp_path: Path) -> None:
    signal = _write(tmp_path, units="uV")

    np.testing.assert_allclose(read_wfdb(tmp_path / "r1").signal, signal.T / 1000, atol=1e-5)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "212"])
@pytest.mark.parametrize("units", ["mV", "uV"])
def test_values_are_wfdbs_own_to_the_last_bit(tmp_path: Path, fmt: str, units: str) -> None:
    _write(tmp_path, fmt=fmt, units=units)
    stored = wfdb.rdrecord(str(tmp_path / "r1"), physical=False)
    factor = {"mV": 1.0, "uV": 1e-3}[units]

    record = read_wfdb(tmp_path / "r1", ["MLII", "V5"])

    expected = (stored.dac() * factor).astype(np.float32)[:, [1, 0]]
    assert record.signal.tobytes() == expected.T.tobytes()


def test_a_sample_marked_as_invalid_is_no_number(tmp_path: Path) -> None:
    _write(tmp_path)
    path = tmp_path / "r1.dat"
    path.write_bytes(b"\x00\x08" + path.read_bytes()[2:])  # -2048, the first of lead V5

    record = read_wfdb(tmp_path / "r1", ["V5"])

    assert np.isnan(record.signal[0, 0])
    assert np.isfinite(record.signal[0, 1:]).all()


def test_a_lead_is_chosen_by_name_and_not_by_channel(tmp_path: Path) -> None:
    _write(tmp_path)
    record = read_wfdb(tmp_path / "r1")

    chosen = record.with_leads(["MLII|II"])

    assert chosen.leads == ("MLII",)
    np.testing.assert_array_equal(chosen.signal[0], record.signal[1])


def test_an_absent_lead_is_an_error_that_lists_the_leads(tmp_path: Path) -> None:
    _write(tmp_path)

    with pytest.raises(InputError, match="no lead II; it has V5, MLII"):
        read_wfdb(tmp_path / "r1").with_leads(["II"])
    with pytest.raises(InputError, match="record r1: no lead II or I; it has V5, MLII"):
        read_wfdb(tmp_path / "r1", ["II|I"])


def test_other_leads_may_be_of_any_unit(tmp_path: Path) -> None:
    _write(tmp_path, units="mmHg")
    header = tmp_path / "r1.hea"
    header.write_text(header.read_text().replace("/mmHg", "/mV", 1))

    assert read_wfdb(tmp_path / "r1", ["V5"]).leads == ("V5",)
    with pytest.raises(InputError, match="unit 'mmHg'"):
        read_wfdb(tmp_path / "r1", ["MLII"])


@pytest.mark.parametrize("fmt", ["16", "212"])
@pytest.mark.parametrize("keep", [0, 1, 500, -3, -1])
def test_a_truncated_signal_file_is_refused(tmp_path: Path, fmt: str, keep: int) -> None:
    _write(tmp_path, fmt=fmt)
    path = tmp_path / "r1.dat"
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(InputError, match="record r1: "):
        read_wfdb(tmp_path / "r1")


@pytest.mark.parametrize("partner", [".hea", ".dat"])
def test_a_missing_partner_file_is_named(tmp_path: Path, partner: str) -> None:
    _write(tmp_path)
    (tmp_path / f"r1{partner}").unlink()

    with pytest.raises(InputError, match=f"r1{partner} is missing"):
        read_wfdb(tmp_path / "r1")


@pytest.mark.parametrize("header", ["", "nonsense", "r1 x y z\n", "r1 2 360 720\nr1.dat 212\n"])
def test_a_broken_header_is_one_sentence(tmp_path: Path, header: str) -> None:
    _write(tmp_path)
    (tmp_path / "r1.hea").write_text(header)

    with pytest.raises(InputError, match="record r1: "):
        read_wfdb(tmp_path / "r1")


def test_a_unit_that_is_no_voltage_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, units="mmHg")

    with pytest.raises(InputError, match="unit 'mmHg'"):
        read_wfdb(tmp_path / "r1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x10" + bytes([45 << 2]) + b"\0\0", "of no known kind"),
        (b"\x10\x04\0\xec\xff\xff\xf0\xff\x01\x04\0\0", "not in the order of time"),
        (b"\x10", "reshape"),
    ],
)
def test_damaged_annotations_are_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    _write(tmp_path)
    (tmp_path / "r1.atr").write_bytes(content)

    with pytest.raises(InputError, match=f"record r1: r1.atr cannot be read .*{reason}"):
        read_wfdb(tmp_path / "r1")


def test_a_folder_is_read_in_the_order_of_its_table(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        _write(tmp_path, name)
    rows = [("r2", "p", "A", 50), ("r1", "p", "N", None)]
    write_csv(tmp_path / "labels.csv", ("record_id", "patient_id", "label", "age"), rows)

    records = list(wfdb_folder.records(tmp_path, labels=LABELS, leads=["MLII"]))

    assert [(r.record_id, r.label, r.age) for r in records] == [("r2", "AF", 50), ("r1", "NSR", 69)]


def test_a_name_with_a_dot_or_a_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "ward").mkdir()
    _write(tmp_path / "ward", "r1")
    (tmp_path / "ward/r1.hea").rename(tmp_path / "ward/a.1.hea")
    write_csv(tmp_path / "labels.csv", ("record_id", "label"), [("ward/a.1", "N")])

    (record,) = wfdb_folder.records(tmp_path, labels=LABELS, leads=["MLII"])

    assert record.record_id == "ward/a.1"


@pytest.mark.parametrize(
    ("sex", "age", "sentence"),
    [("x", 50, "sex 'x'; expected F, M"), ("F", "old", "age 'old'; expected years")],
)
def test_a_wrong_sex_or_age_is_refused(
    tmp_path: Path, sex: str, age: object, sentence: str
) -> None:
    _write(tmp_path)
    write_csv(
        tmp_path / "labels.csv", ("record_id", "label", "sex", "age"), [("r1", "N", sex, age)]
    )

    with pytest.raises(InputError, match=sentence):
        list(wfdb_folder.records(tmp_path, labels=LABELS, leads=["MLII"]))


def test_sex_is_read_in_words_too(tmp_path: Path) -> None:
    _write(tmp_path)
    write_csv(tmp_path / "labels.csv", ("record_id", "label", "sex"), [("r1", "N", "female")])

    (record,) = wfdb_folder.records(tmp_path, labels=LABELS, leads=["MLII"])

    assert record.sex == "F"


def test_a_label_outside_the_map_is_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path)
    write_csv(tmp_path / "labels.csv", ("record_id", "label"), [("r1", "X")])

    with pytest.raises(InputError, match="record r1: label 'X'; the map has N, A"):
        list(wfdb_folder.records(tmp_path, labels=LABELS, leads=["MLII"]))


@pytest.fixture
def cinc(tmp_path: Path) -> Path:
    """Two recordings of the challenge's layout: MATLAB v4, `val` int16, no header line."""
    (tmp_path / "training2017").mkdir()
    for name, value in (("A00001", 500), ("A00002", -250)):
        values = np.full((1, 9000), value, np.int16)
        scipy.io.savemat(tmp_path / f"training2017/{name}.mat", {"val": values}, format="4")
    (tmp_path / "REFERENCE-v3.csv").write_text("A00001,N\nA00002,A\n")
    return tmp_path


def test_cinc2017_is_300_hz_and_1000_units_a_millivolt(cinc: Path) -> None:
    first, second = cinc2017.records(cinc, labels=LABELS)

    assert (first.fs, first.label, first.signal.shape) == (300, "NSR", (1, 9000))
    assert (float(first.signal[0, 0]), float(second.signal[0, 0])) == (0.5, -0.25)


@pytest.mark.parametrize(
    "damage",
    [lambda p: p.unlink(), lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"x" * 99)],
)
def test_a_damaged_cinc2017_file_is_named(cinc: Path, damage: Callable[[Path], None]) -> None:
    damage(cinc / "training2017/A00002.mat")

    with pytest.raises(InputError, match=r"A00002.mat"):
        list(cinc2017.records(cinc, labels=LABELS))


@pytest.mark.parametrize(
    ("samples", "what"),
    [([0, np.nan, 1], "1 samples are no numbers"), ([2, 2, 2], "lead II is flat")],
)
def test_an_unusable_record_is_dropped_or_refused(samples: list[float], what: str) -> None:
    record = Record("r", 128, ("II",), np.array([samples], np.float32))

    assert unusable(record, "drop")
    with pytest.raises(InputError, match=what):
        unusable(record, "error")


def test_a_living_record_is_usable() -> None:
    record = Record("r", 128, ("II",), np.array([[0, 1, 0]], np.float32))

    assert not unusable(record, "error")
