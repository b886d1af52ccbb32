"""What `retrace predict` is given: every format reads the same, and bad input is one sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.deploy.readers import csv
from retrace.deploy.readers.annotations import BEAT_CODES, read_beats
from retrace.errors import InputError
from retrace.signals.records import BEATS, read_wfdb
from tests.input_files import FS, change, edf, waves, write_record

MITDB = Path(os.environ.get("RETRACE_MIRROR", "/")) / "physionet.org/files/mitdb/1.0.0"


def opened(*paths: Path, fs: float | None = None) -> Recording:
    (found,) = open_inputs(paths, fs)
    assert not isinstance(found, Ready | Refused), found
    return found


def refused(*paths: Path | str, fs: float | None = None) -> str:
    (found,) = open_inputs(paths, fs)
    assert isinstance(found, Refused), found
    assert "\n" not in found.why
    return found.why


def whole(recording: Recording) -> NDArray[np.float32]:
    """Everything, in pieces that end in the middle of any block."""
    every = tuple(range(len(recording.leads)))
    stops = [*range(0, recording.samples, 977), recording.samples]
    return np.hstack([recording.read(start, stop, every) for start, stop in pairwise(stops)])


# --- WFDB


@pytest.mark.parametrize("name", ["r1", "r1.hea", "r1.dat", "r1.atr"])
def test_a_record_is_named_by_any_of_its_files(tmp_path: Path, name: str) -> None:
    write_record(tmp_path)

    record = opened(tmp_path / name)

    assert (record.name, record.path, record.fs) == ("r1", tmp_path / "r1", FS)
    assert (record.leads, record.samples) == (("MLII", "V5"), 3600)
    assert (record.age, record.sex) == (69, "M")
    assert record.beats is not None
    assert record.beats.tolist() == [100, 1900]
    assert record.read(10, 20, (1, 0)).tolist() == record.read(0, 30, (0, 1))[::-1, 10:20].tolist()


def test_a_record_named_by_all_its_files_is_opened_once(tmp_path: Path) -> None:
    write_record(tmp_path)

    opened(*sorted(tmp_path.iterdir()), tmp_path / "r1")


@pytest.mark.skipif(not MITDB.is_dir(), reason="RETRACE_MIRROR has no MIT-BIH records")
@pytest.mark.parametrize("name", sorted(path.stem for path in MITDB.glob("*.hea")))
def test_mit_bih_is_read_as_in_training_to_the_last_bit(name: str) -> None:
    expected, record = read_wfdb(MITDB / name), opened(MITDB / name)

    every = (0, 1)
    assert record.read(0, record.samples, every).tobytes() == expected.signal.tobytes()
    assert (record.leads, record.fs) == (expected.leads, expected.fs)
    assert (record.age, record.sex) == (expected.age, expected.sex)
    kept = [symbol in BEATS for symbol in expected.symbols]
    assert record.beats is not None
    np.testing.assert_array_equal(record.beats, expected.beats[kept])


@pytest.mark.parametrize("fmt", ["16", "212", "24", "32", "80", "516"])
@pytest.mark.parametrize("leads", [1, 2, 3])
def test_every_format_gives_wfdbs_samples(tmp_path: Path, fmt: str, leads: int) -> None:
    record = write_record(tmp_path, fmt=fmt, signal=waves(leads, 1999), beats=False)

    expected = wfdb.rdrecord(str(record)).p_signal.T.astype(np.float32)

    assert whole(opened(record)).tobytes() == expected.tobytes()


def test_a_common_record_is_read_without_wfdb(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    code = (
        "import sys; from retrace.deploy.inputs import open_inputs\n"
        f"(found,) = open_inputs([{str(record)!r}]); found.read(0, 9, (0,))\n"
        "print([name for name in ('wfdb', 'pandas', 'scipy', 'torch') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"


def test_a_sample_marked_as_invalid_is_no_number(tmp_path: Path) -> None:
    signal = waves()
    signal[1, 5] = np.nan

    found = opened(write_record(tmp_path, signal=signal)).read(0, 3600, (0, 1))

    assert np.argwhere(~np.isfinite(found)).tolist() == [[1, 5]]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_microvolts_are_no_volts(tmp_path: Path, encoding: str) -> None:
    record = write_record(tmp_path)
    change(tmp_path / "r1.hea", "/mV", "/\u00b5V", encoding)

    np.testing.assert_allclose(whole(opened(record)), waves() / 1000, atol=6e-6)


def test_signals_that_are_no_voltage_are_left_out(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    header = tmp_path / "r1.hea"
    header.write_text(header.read_text().replace("/mV", "/mmHg", 1))

    found = opened(record)

    assert found.leads == ("V5",)
    np.testing.assert_allclose(whole(found), waves()[1:], atol=0.006)
    header.write_text(header.read_text().replace("/mV", "/%"))
    assert "unit 'mmHg'; an ECG is a voltage" in refused(record)


def test_a_lead_has_its_own_rate_where_a_frame_holds_several_samples(tmp_path: Path) -> None:
    fast, slow = waves(1, 4000)[0], waves(1, 1000)[0]
    wfdb.wrsamp(
        "f",
        fs=FS // 4,
        units=["mV", "mV"],
        sig_name=["ECG", "Resp"],
        e_p_signal=[fast, slow],
        fmt=["16", "16"],
        adc_gain=[1000.0] * 2,
        baseline=[0, 0],
        samps_per_frame=[4, 1],
        write_dir=str(tmp_path),
    )
    wfdb.wrann("f", "atr", np.array([10, 20]), ["N", "N"], write_dir=str(tmp_path))

    record = opened(tmp_path / "f")

    assert (record.fs, record.leads, record.samples) == (FS, ("ECG",), 4000)
    np.testing.assert_allclose(whole(record)[0], fast, atol=1e-3)
    assert record.beats is not None
    assert record.beats.tolist() == [40, 80]


def test_segments_are_one_recording_with_gaps(tmp_path: Path) -> None:
    write_record(tmp_path, "s1", signal=waves(2, 500), beats=False)
    write_record(tmp_path, "s2", fmt="24", signal=waves(1, 300), leads=["V5"], beats=False)
    layout = "l 2 360 0\n~ 0 100/mV 0 0 0 0 0 MLII\n~ 0 100/mV 0 0 0 0 0 V5\n"
    (tmp_path / "l.hea").write_text(layout)
    (tmp_path / "day.hea").write_text("day/4 2 360 900\nl 0\ns1 500\n~ 100\ns2 300\n# age: 50\n")

    record = opened(tmp_path)  # a folder: the segments are no recordings of their own

    assert (record.leads, record.samples, record.age) == (("MLII", "V5"), 900, 50)
    expected = np.full((2, 900), np.nan)
    expected[:, :500], expected[1, 600:] = waves(2, 500), waves(1, 300)
    np.testing.assert_allclose(whole(record), expected, atol=0.006)


@pytest.mark.parametrize("fmt", ["16", "212", "24"])
@pytest.mark.parametrize("keep", [0, 1, 500, -5, -1])
def test_a_truncated_signal_file_is_refused(tmp_path: Path, fmt: str, keep: int) -> None:
    record = write_record(tmp_path, fmt=fmt)
    content = (tmp_path / "r1.dat").read_bytes()
    (tmp_path / "r1.dat").write_bytes(content[:keep])

    assert "r1.dat: " in refused(record)


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_the_signal_file_of_another_recording_is_refused(tmp_path: Path, fmt: str) -> None:
    record = write_record(tmp_path, fmt=fmt)
    write_record(tmp_path, "r2", fmt=fmt, signal=waves()[::-1] + 0.01)
    (tmp_path / "r2.dat").replace(tmp_path / "r1.dat")

    assert "'MLII' do not add up to the checksum" in refused(record)


def test_a_signal_file_longer_than_its_header_says_is_refused(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    lines = (tmp_path / "r1.hea").read_text().splitlines()
    lines = ["r1 2 360 3000"] + [" ".join(line.split()[:5]) for line in lines[1:3]]
    (tmp_path / "r1.hea").write_text("\n".join(lines))

    assert "1800 bytes more than its header describes" in refused(record)


@pytest.mark.parametrize(
    "name", ["../r1.dat", "/etc/passwd", "https://a.b/r1.dat", "..", "-", "a\\b", "s3:r1"]
)
@pytest.mark.parametrize("header", ["x 1 360 9\n{} 16 200\n", "x/1 1 360 9\n{} 9\n"])
def test_a_header_reads_nothing_from_elsewhere(tmp_path: Path, name: str, header: str) -> None:
    write_record(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.hea").write_text(header.format(name))

    assert "which is not a file beside it" in refused(tmp_path / "in/x")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "it has no record line"),
        ("nonsense", "record line 'nonsense'"),
        ("r1 2 360 9\nr1.dat 212", "2 signals promised, 1 described"),
        ("r1 1 360 9\nr1.dat x", "signal line 'r1.dat x'"),
        ("r1 1 360 9\nr1.dat 16 1e99", "gain 1e+99"),
        ("r1 1 0 9\nr1.dat 16", "0 Hz; a sampling rate is from 20"),
        ("r1 1 nan 9\nr1.dat 16", "nan Hz"),
        ("r1 1 360 999999999\nr1.dat 16", "32.2 days; at most 14"),
        ("r1 0 360 9\n", "no signal"),
        ("r1 1 360 9\nr1.dat 8", "format 8; each file must be in one of"),
        ("r1 1 360 9\nr1.dat 16x0", "0 Hz"),
        ("r1/1 1 360 9\nr1 9", "not one segment of 9 samples"),
        ("r1/1 1 360 9\nr1 8", "segments of 8 in 9 frames"),
        ("r1 65 360 9\n" + "r1.dat 16\n" * 65, "64 at most"),
    ],
)
def test_a_broken_header_is_one_sentence(tmp_path: Path, header: str, reason: str) -> None:
    record = write_record(tmp_path)
    (tmp_path / "r1.hea").write_text(header)

    assert reason in refused(record)


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
def test_a_missing_partner_is_named(tmp_path: Path, suffix: str) -> None:
    record = write_record(tmp_path)
    (tmp_path / f"r1{suffix}").unlink()

    assert "missing" in (why := refused(record))
    assert f"r1{suffix}" in why


def test_beats_are_those_of_training() -> None:
    symbols = wfdb.io.annotation.ann_label_table.set_index("label_store").symbol

    assert set(symbols[BEAT_CODES]) == BEATS


def test_annotations_are_read_as_wfdb_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    marks = np.cumsum(rng.choice([1, 300, 1023, 1024, 70_000, 9_000_000], 400))
    notes = [["", "(AFIB", "odd", "\x0e\xec" * 20][kind] for kind in rng.integers(0, 4, 400)]
    wfdb.wrann(
        "a",
        "atr",
        marks,
        rng.choice([*BEATS, "+", "~", "|"], 400).tolist(),
        subtype=rng.integers(-3, 3, 400),
        chan=rng.integers(0, 2, 400),
        num=rng.integers(0, 3, 400),
        aux_note=notes,
        write_dir=str(tmp_path),
    )
    expected = wfdb.rdann(str(tmp_path / "a"), "atr")

    found = read_beats(tmp_path / "a.atr", FS, int(marks[-1]) + 1, FS)

    kept = [symbol in BEATS for symbol in expected.symbol]
    assert found.tolist() == expected.sample[kept].tolist()


def test_a_record_of_no_beats_was_looked_at_all_the_same(tmp_path: Path) -> None:
    record = write_record(tmp_path, beats=False)
    assert opened(record).beats is None

    wfdb.wrann("r1", "atr", np.array([5]), ["+"], aux_note=["(N"], write_dir=str(tmp_path))

    beats = opened(record).beats
    assert beats is not None
    assert not beats.size


def test_annotations_may_be_finer_than_samples(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    wfdb.wrann("r1", "atr", np.array([200, 3800]), ["N", "N"], fs=2 * FS, write_dir=str(tmp_path))

    beats = opened(record).beats

    assert beats is not None
    assert beats.tolist() == [100, 1900]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x10", "1 bytes"),
        (b"\x10\x04", "does not end"),
        (b"\0\0\x10\x04\0\0", "does not end"),
        (b"\x10" + bytes([45 << 2]) + b"\0\0", "of no known kind"),
        (b"\x10\x04\0\xec\xff\xff\xf0\xff\x01\x04\0\0", "not in the order of time"),
        (b"\0\xec\xff", "3 bytes"),
        (b"\0\xec\xff\0", "ends within a jump"),
        (b"\x10\x04\xff\xff\0\0", "does not end"),
        (b"\0\xec\x01\0\0\0\x00\x04\0\0", "a beat at sample 65536 of 3600"),
    ],
)
def test_damaged_annotations_are_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    record = write_record(tmp_path)
    (tmp_path / "r1.atr").write_bytes(content)

    assert reason in (why := refused(record))
    assert "r1.atr" in why


# --- CSV


def lines(*first: str, form: str, ends: str = "\n") -> str:
    a, b = waves()
    rows = [
        form.format(n=n, s=n / FS, ms=1000 * n / FS, m=int(n / FS // 60), a=x, b=y, ua=1000 * x)
        for n, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    return ends.join([*first, *rows]) + ends


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        (lines(form="{a:.3f},{b:.3f}"), ("1", "2")),
        (lines("MLII,V5", form="{a:.3f},{b:.3f},", ends="\r\n"), ("MLII", "V5")),
        (lines("\ufefftime,MLII,V5", form="{s:.3f},{a:.3f},{b:.3f}"), ("MLII", "V5")),
        (lines("", "t (ms)\tII", form="{ms:.9f}\t{a:.3f}"), ("II",)),
        (lines("time;II [\u00b5V]", form="{s};{ua}").replace(".", ","), ("II",)),
        (lines("sample,MLII,HR (bpm)", form="{n},{a},70"), ("MLII",)),
        (lines(",0,1", form="{n},{a},{b}"), ("0", "1")),
        (lines('"sample #","MLII"', form='"{n}","{a}"'), ("MLII",)),
        (
            lines(
                "'Elapsed time','MLII','V5'",
                "'hh:mm:ss.mmm','uV','mV'",
                form="'{m}:{s:06.3f}',{ua},{b}",
            ),
            ("MLII", "V5"),
        ),
    ],
)
def test_tables_of_many_kinds_are_one_signal(
    tmp_path: Path, text: str, leads: tuple[str, ...]
) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")

    table = opened(tmp_path / "a.csv", fs=FS)

    assert (table.name, table.fs, table.leads, table.samples) == ("a", FS, leads, 3600)
    np.testing.assert_allclose(whole(table), waves()[: len(leads)], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rate", [128, 250, 257.0 + 1 / 7, 360, 1000, 2000])
def test_times_that_are_rounded_give_the_rate(tmp_path: Path, rate: float) -> None:
    rows = [f"{n / rate:.3f},{n % 9 / 9:.3f}" for n in range(20_000)]
    (tmp_path / "a.csv").write_text("time,II\n" + "\n".join(rows))

    assert opened(tmp_path / "a.csv").fs == pytest.approx(rate, rel=1e-4)
    if rate == round(rate):
        assert opened(tmp_path / "a.csv").fs == rate


def test_a_missing_sample_is_no_number(tmp_path: Path) -> None:
    rows = ["0.1,0.2", "-,0.3", "0.1,", "nan,NA", "inf,1e300", "0.5,0.6"]
    (tmp_path / "a.csv").write_text("\n".join(rows))

    found = whole(opened(tmp_path / "a.csv", fs=FS))

    assert np.isfinite(found).T.tolist() == [
        [True, True],
        [False, True],
        [True, False],
        [False, False],
        [False, False],
        [True, True],
    ]


def test_a_long_table_is_the_same_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(lines("time,MLII,V5", form="{s:.3f},{a:.3f},{b:.3f}"))
    expected = whole(opened(tmp_path / "a.csv"))
    monkeypatch.setattr(csv, "BLOCK", 1000)
    monkeypatch.setattr(csv, "IN_MEMORY", 1000)

    assert whole(opened(tmp_path / "a.csv")).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n \n", "no line with numbers"),
        ("MLII,V5\n", "no sample"),
        ("Dear doctor,\nplease find my ECG\nenclosed\n", "line 3 has 'enclosed'"),
        ("II\n0.1\nabc\n0.3\n", "line 3 has 'abc'; a sample is a number"),
        ("II\n0.1\n1_0\n", "line 3 has '1_0'"),
        ("a,b\n1,2\n3\n", "line 3 has 1 fields; each must have 2"),
        ("1\n2\n3\n", "no column of times"),
        ("time,II\n0,1\n", "times do not ascend"),
        ("time,II\n2,1\n1,1\n0,1\n", "times do not ascend"),
        ("time,II\n0.00,1\n0.01,1\n0.02,1\n0.90,1\n", "they must be even"),
        ("time,II\n" + "".join(f"{n // 3},1\n" for n in range(30)), "too coarse"),
        ("time,II\n0.0,1\n,1\n", "a time is missing"),
        ("time (min),II\n0,1\n1,2\n", "time in 'min'"),
        ("time,II\n0.000,1\n0.500,1\n1.000,1\n", "2 Hz; a sampling rate is from 20"),
        ("time\n0.0\n0.01\n", "0 columns of samples"),
        ("1," * 65 + "1\n", "66 columns of samples; from 1 to 64"),
        ("II (bpm)\n60\n", "unit 'bpm'; an ECG is a voltage"),
        ("nan\n" * 99, "not one sample is a number"),
        ("1 " * 20_000, "a line of more than"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(text)

    assert reason in refused(tmp_path / "a.csv", fs=None if "time" in text + reason else FS)


def test_sample_numbers_must_not_jump(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sample,II\n0,0\n1,0\n3,0\n")

    assert "steps from 1 to 2; they must count by one" in refused(tmp_path / "a.csv", fs=FS)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0\0\x10JFIF", "1\n2\n".encode("utf-16")])
def test_what_is_no_text_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    assert "no text" in refused(tmp_path / "a.csv", fs=FS)


# --- .npy


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x,
        lambda x: x.T,
        np.asfortranarray,
        lambda x: np.asfortranarray(x.T),
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.float16),
    ],
)
def test_a_signal_is_read_from_either_layout(
    tmp_path: Path, lay: Callable[[NDArray[np.float64]], NDArray[np.generic]]
) -> None:
    np.save(tmp_path / "a.npy", lay(waves()))

    signal = opened(tmp_path / "a.npy", fs=FS)

    assert (signal.fs, signal.leads, signal.samples) == (FS, ("1", "2"), 3600)
    np.testing.assert_allclose(whole(signal), waves(), atol=1e-3)


def test_one_axis_is_one_lead(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", waves()[0])

    np.testing.assert_allclose(whole(opened(tmp_path / "a.npy", fs=FS)), waves()[:1], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "given", "ready"),
    [
        ((1, 1, 187), None, (1, 1, 187)),
        ((3, 2, 187), FS, (3, 2, 187)),
        ((2, 1, 8, 9), None, (2, 1, 8, 9)),
        ((8, 9), None, (1, 8, 9)),
    ],
)
def test_segments_are_ready(
    tmp_path: Path, shape: tuple[int, ...], given: float | None, ready: tuple[int, ...]
) -> None:
    values = np.asfortranarray(np.random.default_rng(0).normal(size=shape), np.float16)
    np.save(tmp_path / "a.npy", values)

    (found,) = open_inputs([tmp_path / "a.npy"], given)

    assert isinstance(found, Ready)
    assert (found.name, found.X.shape) == ("a", ready)
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X.reshape(shape), values)


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_pickled_objects_stay_pickled(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "unpickled")], dtype=object)
    np.save(tmp_path / "a.npy", bomb, allow_pickle=True)

    assert "pickled objects" in refused(tmp_path / "a.npy", fs=FS)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(9), "without a sampling rate"),
        (np.zeros((64, 64)), "which axis is time cannot be told"),
        (np.zeros((500, 187)), "at most 64 leads"),
        (np.float64(1), "shape ()"),
        (np.zeros((0, 9)), "each axis has at least one value"),
        (np.zeros((2,) * 5), "bring it into one of these shapes"),
        (np.zeros(9, complex), "type complex128"),
        (np.zeros(9, bool), "type bool"),
        (np.array(["a"]), "type str"),
        (np.zeros(9, [("a", "f4")]), "type void"),
        (np.zeros(9, "M8[s]"), "type datetime64"),
        (np.full((1, 1, 9), np.nan), "9 values are no numbers"),
        (np.full(999, np.nan), "not one sample is a number"),
        (np.tile([0, 1000], 999), "values that span 1000 in two seconds"),
    ],
)
def test_an_array_that_is_no_signal_is_one_sentence(
    tmp_path: Path, values: NDArray[np.generic], reason: str
) -> None:
    np.save(tmp_path / "a.npy", values)

    assert reason in refused(tmp_path / "a.npy", fs=None if "rate" in reason else FS)


@pytest.mark.parametrize(
    ("change_bytes", "reason"),
    [
        (lambda b: b[:-1], "1123 bytes|needs"),
        (lambda b: b + b"\0", "needs"),
        (lambda b: b[:50], "no .npy file"),
        (lambda b: b"PK\3\4" + b, "no .npy file"),
        (lambda b: b.replace(b"(125,)", b"(9**9,)"), "no .npy file"),
        (lambda b: b.replace(b"(125,), }       ", b"(9999999999,), }"), "needs 80000000120"),
        (lambda b: b.replace(b"(125,)", b"(-125,"), "no .npy file"),
        (lambda b: b.replace(b"(125,), }", b"(True,),}"), "no .npy file"),
        (lambda b: b[:6] + b"\2\0" + b"\xff" * 4 + b[10:], "no .npy file"),
        (lambda b: b[:6] + b"\3\0" + b[8:], "no .npy file"),
    ],
)
def test_a_damaged_array_file_is_one_sentence(
    tmp_path: Path, change_bytes: Callable[[bytes], bytes], reason: str
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(125))
    path = tmp_path / "a.npy"
    path.write_bytes(change_bytes(path.read_bytes()))

    assert any(part in refused(path, fs=FS) for part in reason.split("|"))


# --- EDF


def counts(records: int, length: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-9999, 9999, (records, length)).astype(np.int16)


@pytest.mark.parametrize("reserved", ["", "EDF+C"])
def test_edf_gives_the_ecg_alone(tmp_path: Path, reserved: str) -> None:
    ecg = [counts(10, FS, seed) for seed in range(2)]
    signals = [counts(10, 100), ecg[0], counts(10, FS), ecg[1], counts(10, 60)]
    labels = ("EEG Fpz", "ECG MLII", "EEG Cz", "EKG V5", "EDF Annotations")
    units = ("uV", "uV", "uV", "mV", "")
    (tmp_path / "a.edf").write_bytes(edf(signals, labels, units, reserved=reserved))

    found = opened(tmp_path / "a.edf")

    assert (found.fs, found.leads, found.samples) == (FS, ("MLII", "V5"), 10 * FS)
    assert (found.age, found.sex) == (50, "F")
    expected = np.stack([(one.ravel() / 10 - 3) for one in ecg]) * [[1e-3], [1]]
    np.testing.assert_allclose(whole(found), expected, rtol=1e-5, atol=1e-6)


def test_voltages_are_taken_where_no_label_says_ecg(tmp_path: Path) -> None:
    signals = [counts(9, 50), counts(9, FS), counts(9, FS), counts(9, FS)]
    content = edf(signals, ("Slow", "I", "Flow", "V1"), ("mV", "UV", "l/s", "mv"))
    (tmp_path / "a.edf").write_bytes(content)

    assert opened(tmp_path / "a.edf").leads == ("I", "V1")


def test_a_recorder_that_was_not_stopped_leaves_its_length_open(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(edf([counts(7, FS)] * 2, records=-1))

    assert opened(tmp_path / "a.edf").samples == 7 * FS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" * 99, "does not begin as EDF does"),
        (edf([counts(2, FS)] * 2)[:300], "it ends within its header"),
        (edf([counts(2, FS)] * 2)[:-1], "it must be whole"),
        (edf([counts(2, FS)] * 2) + b"\0", "it must be whole"),
        (edf([counts(2, FS)] * 2, reserved="EDF+D"), "with gaps between"),
        (b"\xffBIOSEMI" + edf([counts(2, FS)] * 2)[8:], "BDF, with 24 bits"),
        (edf([counts(2, FS)] * 2, units=("l", "K")), "unit 'l'; an ECG is a voltage"),
        (edf([counts(2, 10)] * 2), "10 Hz; a sampling rate is from 20"),
        (edf([counts(2, FS)], ["EDF Annotations"], [""]), "an ECG is a voltage"),
        (edf([counts(2, FS)] * 2, records=-7), "it must be whole"),
        (edf([counts(2, FS)] * 2).replace(b"-3279.8 ", b"nan     "), "'nan' where a number"),
        (edf([counts(2, FS)] * 2).replace(b"-32768  ", b"32767   "), "from 32767 to 32767"),
        (edf([counts(2, FS)] * 65, ["ECG I"] * 65, ["mV"] * 65), "65 leads; from 1 to 64"),
    ],
)
def test_what_is_no_edf_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.edf").write_bytes(content)

    assert reason in refused(tmp_path / "a.edf")


# --- all of them


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write_record(tmp_path, "b")
    np.save(tmp_path / "c.npy", waves())
    (tmp_path / "a.edf").write_bytes(edf([counts(2, FS)] * 2))
    for name in ("labels.csv", "REFERENCE-v3.csv", "README.txt", ".hidden.csv", "notes.md"):
        (tmp_path / name).write_text("r1,N\n")
    (tmp_path / "within").mkdir()
    write_record(tmp_path / "within", "d")
    before = sorted(tmp_path.rglob("*"))

    found = list(open_inputs([tmp_path], FS))

    assert [item.name for item in found if not isinstance(item, Refused)] == ["a", "b", "c"]
    assert len(found) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_bad_does_not_stop_what_is_good(tmp_path: Path) -> None:
    write_record(tmp_path, "b")
    (tmp_path / "a.hea").write_text("nonsense")

    first, second = open_inputs([tmp_path])

    assert isinstance(first, Refused)
    assert not isinstance(second, Refused)


def test_a_given_rate_may_only_confirm_what_a_file_says(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    (tmp_path / "a.edf").write_bytes(edf([counts(2, FS)] * 2))
    (tmp_path / "a.csv").write_text(lines("time,II", form="{s:.4f},{a}"))

    for path in (record, tmp_path / "a.edf", tmp_path / "a.csv"):
        assert opened(path, fs=FS).fs == FS
        assert "--fs 250, but the file says 360 Hz" in refused(path, fs=250)


@pytest.mark.parametrize("fs", [0, -1, float("nan"), float("inf"), 1e9, 10])
def test_a_rate_that_is_none_is_refused_before_anything_is_read(fs: float) -> None:
    with pytest.raises(InputError, match=r"--fs .*: a sampling rate is from 20 to 10000 Hz"):
        next(open_inputs(["absent.npy"], fs))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "no such file or WFDB record"),
        ("absent.hea", "absent.hea is missing"),
        ("absent.csv", "No such file"),
        ("a\0b", "no such file"),
        ("x" * 5000, "File name too long"),
        ("a\nb.csv", r"a\nb.csv: No such file"),
    ],
)
def test_a_path_to_nothing_is_one_sentence(name: str, reason: str) -> None:
    assert reason in refused(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.zip", "nothing is unpacked"),
        ("a.npz", "nothing is unpacked"),
        ("a.csv.gz", "nothing is unpacked"),
        ("a.bdf", "BDF"),
        ("a.mat", "put a.hea beside it"),
        ("a.jpg", "of a kind that is not read"),
        ("a", "of a kind that is not read"),
    ],
)
def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"\0" * 99)

    assert reason in refused(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".edf", ".hea", ".dat", ".atr"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, suffix: str, kind: str) -> None:
    path = write_record(tmp_path).with_suffix(suffix)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)

    named = path.with_suffix("") if suffix in (".hea", ".dat", ".atr") else path
    (found,) = open_inputs([named], FS)

    # An .atr that is no file is none: beats are looked for.
    assert isinstance(found, Refused) == (suffix != ".atr")


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    write_record(tmp_path / "cache")
    for suffix in (".hea", ".dat", ".atr"):  # as DVC links what it has in its cache
        (tmp_path / f"r1{suffix}").symlink_to(tmp_path / f"cache/r1{suffix}")

    assert opened(tmp_path / "r1").samples == 3600


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("record_id,label\n")

    assert "no recording in this folder" in refused(tmp_path)


@pytest.mark.parametrize("write", ["wfdb", "npy"])
def test_a_file_that_shrinks_while_it_is_read_is_one_sentence(tmp_path: Path, write: str) -> None:
    if write == "wfdb":
        path, data = write_record(tmp_path), tmp_path / "r1.dat"
    else:
        path = data = tmp_path / "a.npy"
        np.save(path, waves())
    recording = opened(path, fs=FS)
    data.write_bytes(data.read_bytes()[:-9])

    with pytest.raises(InputError, match="ends too early"):
        recording.read(0, 3600, (0, 1))
