"""Any bytes are read or refused in one sentence, in bounded memory, and nothing is written."""

import tempfile
import tracemalloc
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrace.deploy.inputs import Ready, Refused, open_inputs
from tests.input_files import FS, edf, waves, write_record

EXAMPLES = settings(max_examples=150)
Files = dict[str, bytes]


@cache
def whole_files() -> Files:
    """A small recording of each format."""
    with tempfile.TemporaryDirectory() as name:
        folder, signal = Path(name), waves(2, 400)
        write_record(folder, signal=signal)
        write_record(folder, "r24", fmt="24", signal=signal, beats=False)
        (folder / "r1s.hea").write_text("r1s/2 2 360 800\nr1 400\nr1 400\n")
        rows = [f"{n / FS:.3f},{a},{b}\n" for n, (a, b) in enumerate(signal.T)]
        (folder / "a.csv").write_text("time,MLII (uV),V5\n" + "".join(rows))
        np.save(folder / "a.npy", signal)
        np.save(folder / "x.npy", np.ones((2, 1, 187), np.float32))
        digital = np.arange(400, dtype=np.int16).reshape(2, 200)
        (folder / "a.edf").write_bytes(edf([digital, digital], reserved="EDF+C"))
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check(files: Files, named: Iterable[str], fs: float | None = None) -> None:
    """Open these files and read here and there: no error but the declared ones, no trace left."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        for found in open_inputs([folder / file for file in named], fs):
            if isinstance(found, Refused):
                assert found.why.isprintable()
                assert ": " in found.why
            elif isinstance(found, Ready):
                assert found.X.dtype == np.float32
                assert 3 <= found.X.ndim <= 4
                assert np.isfinite(found.X).all()
            else:
                assert 1 <= len(found.leads) <= 64
                assert 20 <= found.fs <= 10_000
                every = tuple(range(len(found.leads)))
                for start in (0, found.samples // 3, found.samples - 1):
                    stop = min(start + 50, found.samples)
                    piece = found.read(start, stop, every)
                    assert piece.shape == (len(every), stop - start)
                    assert piece.dtype == np.float32
                    assert not np.isinf(piece).any()
                if found.beats is not None and found.beats.size:
                    assert 0 <= found.beats[0] <= found.beats[-1] < found.samples
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some bytes changed, cut out, put in, or lost at its end."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)) | st.integers(0, 120))
        length = draw(st.integers(0, 20))
        put = draw(
            st.binary(max_size=20)
            | st.sampled_from([b"9" * 12, b"-1", b"nan", b"1e999", b"/", b"~", b"\n", b"\0" * 9])
        )
        content = content[:place] + put + content[place + length :]
        if draw(st.integers(0, 9)) == 0:
            content = content[: draw(st.integers(0, len(content)))]
    return content


@pytest.mark.parametrize("suffix", ["hea", "csv", "npy", "edf", "txt", "dat", ""])
@EXAMPLES
@given(content=st.binary(max_size=600), given_fs=st.sampled_from([None, FS]))
def test_random_bytes(suffix: str, content: bytes, given_fs: float | None) -> None:
    name = f"a.{suffix}".rstrip(".")

    check({name: content}, [name], given_fs)


@pytest.mark.parametrize("name", ["r1.hea", "r1.dat", "r1.atr", "a.csv", "a.npy", "x.npy", "a.edf"])
@EXAMPLES
@given(data=st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    files = whole_files()
    kept = {other: files[other] for other in ("r1.hea", "r1.dat", "r1.atr")}

    check(
        kept | {name: data.draw(damaged(files[name]))},
        [name],
        data.draw(st.sampled_from([None, FS])),
    )


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("name", ["r1s.hea", "r24.hea", "r24.dat"])
def test_damaged_files_of_rarer_records(name: str, data: st.DataObject) -> None:
    files = whole_files()

    check(files | {name: data.draw(damaged(files[name]))}, [name])


WORDS = """r1 r1.dat r1s r1/2 x/99999 ~ ../r1.dat # 0 1 2 -5 100 400 999999999999 nan 1e9 360
360/2(1) 16 212 24 8 516 16x2 16:3 16+4 200 100(7)/mV 1e-5/V 0/mV -1(0)/uV MLII age: 5"""


@EXAMPLES
@given(
    lines=st.lists(
        st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=5), max_size=8).map(" ".join),
        max_size=5,
    )
)
def test_made_up_wfdb_headers(lines: list[str]) -> None:
    header = "\n".join(lines).encode("utf-8", "surrogatepass")

    check(whole_files() | {"a.hea": header}, ["a"])


@EXAMPLES
@given(
    descr=st.sampled_from(["<f4", ">f8", "|O", "<i2", "<U9", "<c8", "|b1", "V0", [("a", "<f4")]])
    | st.text(max_size=9),
    shape=st.lists(st.integers(-2, 1 << 70) | st.integers(0, 9), max_size=6).map(tuple)
    | st.text(max_size=9),
    fortran=st.booleans() | st.integers(),
    version=st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\1\1"]),
    body=st.binary(max_size=400),
    given_fs=st.sampled_from([None, FS]),
)
def test_made_up_npy_headers(
    descr: object, shape: object, fortran: object, version: bytes, body: bytes, given_fs: float
) -> None:
    fields = {"descr": descr, "fortran_order": fortran, "shape": shape}
    header = repr(fields).encode("utf-8", "surrogatepass") + b"\n"
    length = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")

    check({"a.npy": b"\x93NUMPY" + version + length + header + body}, ["a.npy"], given_fs)


@EXAMPLES
@given(
    fields=st.lists(
        st.tuples(
            st.integers(0, 800),
            st.sampled_from(
                ["0", "1", "-1", "2", "99999999", "nan", "1e99", ".1", "768", "mV", "EEG"]
            ),
        ),
        max_size=4,
    )
)
def test_made_up_edf_headers(fields: list[tuple[int, str]]) -> None:
    content = bytearray(whole_files()["a.edf"])
    for place, text in fields:
        start = place // 8 * 8  # most fields begin there
        content[start : start + 8] = f"{text:<8}".encode()

    check({"a.edf": bytes(content)}, ["a.edf"])


@EXAMPLES
@given(
    rows=st.lists(
        st.lists(
            st.floats().map(str)
            | st.sampled_from(
                ["", "nan", "time", "t (ms)", "sample", "0:00.1", "'II'", "1,5", "mV"]
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=12,
    ),
    mark=st.sampled_from([",", ";", "\t", ", "]),
    ends=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    given_fs=st.sampled_from([None, FS]),
)
def test_made_up_tables(
    rows: list[list[str]], mark: str, ends: str, given_fs: float | None
) -> None:
    check({"a.csv": ends.join(map(mark.join, rows)).encode()}, ["a.csv"], given_fs)


PROMISES = {
    "a.npy": b"\x93NUMPY\1\0v\0" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1, %d)}",
    "b.npy": b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 999,
    "a.edf": edf([np.zeros((1, 99_999_999), np.int16)[:, :1]] * 2).replace(b"1       1 ", b"9" * 8),
    "a.hea": b"a 2 360 400000000\na.dat 212\na.dat 212\n",
    "b.hea": b"b/999999999 2 360 9\nb 9\n",
    "c.hea": b"c 999999999 360 9\n",
    "d.hea": b"d 1 360 400000000\na.dat 516\n",
    "e.hea": b"e 1 25 9999\na.dat 24x999\n",
    "a.csv": b"1," * 3_000_000,
    "b.csv": b"1" * 9_000_000,
    "c.csv": b"\n" * 2_000_000,
}


@pytest.mark.parametrize("name", PROMISES)
def test_promises_take_no_memory(name: str) -> None:
    open_inputs([])  # what is imported does not count
    tracemalloc.start()
    try:
        check({"a.dat": b"fLaC" * 99, name: PROMISES[name]}, [name], FS)
        assert tracemalloc.get_traced_memory()[1] < 96 << 20
    finally:
        tracemalloc.stop()
