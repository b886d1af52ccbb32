"""Files arrive byte for byte, under their own names, in bounded memory; or nothing does."""

import asyncio
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.deploy.readers.annotations import read_beats
from retrace.service import labels, privacy, uploads
from retrace.service.problems import Problem
from retrace.service.uploads import Upload, receive, safe_name
from tests.hostile import ATR, FORM, form, part
from tests.input_files import edf, write_record


def received(chunks: Iterable[bytes], folder: Path, kind: str = FORM) -> Upload:
    """What `receive` makes of a body in these pieces."""

    async def read() -> Upload:
        pieces = iter(chunks)

        async def messages() -> Message:
            piece = next(pieces, None)
            body = {"type": "http.request", "body": piece or b"", "more_body": piece is not None}
            return body if piece is not None or not breaks else {"type": "http.disconnect"}

        headers = [(b"content-type", kind.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        return await receive(Request(scope, messages), folder)

    breaks = isinstance(chunks, tuple)  # a tuple: the client goes before the end
    return asyncio.run(read())


def opened(path: Path) -> Recording:
    found = next(open_inputs([path]))
    assert not isinstance(found, Refused | Ready), found
    return found


@given(data=st.data())
def test_files_and_fields_arrive_as_they_were_however_they_are_cut(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pieces = st.sampled_from([b"\r\n", b"--", b"\r\n--a-boundary-of", b"x", b"\0\xff", b"\r"])
    content = b"".join(data.draw(st.lists(pieces, min_size=1, max_size=12)))
    body = form([("a.csv", content), ("b.dat", b"2")], person="Zoë", fs="360")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=9)))
    folder = tmp_path_factory.mktemp("u")

    upload = received([body[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)], folder)

    assert [path.name for path in upload.paths] == ["a.csv", "b.dat"]
    assert upload.paths[0].read_bytes() == content
    assert upload.fields == {"person": "Zoë", "fs": "360"}


def test_a_field_may_come_as_a_file(tmp_path: Path) -> None:
    said = 'Content-Disposition: form-data; name="person"; filename="p.json"'
    body = part("", b"p-1", said) + form([("a.csv", b"1")])

    assert received([body], tmp_path).fields == {"person": "p-1"}


def test_a_large_file_never_stands_in_memory(tmp_path: Path) -> None:
    begin, end = form([("a.dat", b"?")]).split(b"?")
    chunk = bytes(1 << 16)
    tracemalloc.start()
    try:
        upload = received([begin, *[chunk] * 1024, end], tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert upload.paths[0].stat().st_size == 1024 * len(chunk)
    assert peak < 4 * uploads.AT_ONCE


def test_a_client_that_goes_has_sent_nothing_whole(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="broke off") as raised:
        received((form([("a.csv", b"1")])[:-9],), tmp_path)
    assert raised.value.status == 400


@given(st.text(max_size=20) | st.text("./\\:a~- \u202e\0", max_size=8).map("{}.csv".format))
def test_a_name_stays_as_it_is_in_its_folder_or_is_refused(name: str) -> None:
    try:
        kept = safe_name(name)
    except Problem as problem:
        assert problem.status == 422
        assert problem.detail.isprintable()
    else:
        assert kept == name == Path("/folder", name).name
        assert Path("/folder", name).resolve().parent == Path("/folder")
        assert name.isprintable()
        assert not name.startswith(".")


def test_a_header_loses_its_comments_and_the_date_and_no_sample(tmp_path: Path) -> None:
    record = write_record(tmp_path)
    header = record.with_suffix(".hea")
    first, _, rest = header.read_text().partition("\n")
    header.write_text(f"{first} 10:20:30 03/04/1998\r\n  # Anna, 69 F, digoxin\n{rest}#x")
    signal, notes = record.with_suffix(".dat").read_bytes(), b"# name: Anna"
    before = opened(header)

    privacy.strip(header)
    privacy.strip(record.with_suffix(".dat"))

    after = opened(header)
    assert header.read_text().splitlines()[0] == "r1 2 360 3600"
    assert "#" not in header.read_text() and notes not in header.read_bytes()
    assert record.with_suffix(".dat").read_bytes() == signal
    assert (before.age, after.age, after.sex) == (69.0, None, None)
    np.testing.assert_array_equal(after.read(0, 3600, (0, 1)), before.read(0, 3600, (0, 1)))


@pytest.mark.parametrize("reserved", ["EDF+C", ""])
def test_an_edf_file_becomes_anonymous_and_keeps_its_samples(tmp_path: Path, reserved: str) -> None:
    digital = np.arange(3 * 200, dtype=np.int16).reshape(3, 200)
    tals = [f"+{n}\x14\x14\0+{n}.5\x14Anna felt dizzy\x14\0" for n in range(3)]
    text = np.frombuffer(b"".join(t.encode().ljust(80, b"\0") for t in tals), "<i2").reshape(3, 40)
    path = tmp_path / "a.edf"
    path.write_bytes(edf([digital, text], ("ECG MLII", "EDF Annotations"), reserved=reserved))
    before = opened(path)
    signal = before.read(0, 600, (0,))

    privacy.strip(path)

    after, content = opened(path), path.read_bytes()
    np.testing.assert_array_equal(after.read(0, 600, (0,)), signal)
    assert (after.age, after.sex) == (None, None)
    assert content[8:88].split() == (b"X X X X".split() if reserved else [])
    assert content[88:168].split() == (b"Startdate X X X X".split() if reserved else [])
    assert content[168:184] == b"01.01.8500.00.00"
    for word in (b"Anna", b"MCH", b"1951", b"MAR-2002"):
        assert word not in content
    for n in range(3):  # each data record keeps its time
        assert content[768 + 480 * n + 400 :][:80] == f"+{n}\x14\x14".encode().ljust(80, b"\0")


def test_a_table_loses_its_comments_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# Anna\ntime,MLII\n 0,1\n  # 69 F\n0.01,2\n#" + "x" * 70_000)

    privacy.strip(path)

    assert path.read_text() == "time,MLII\n 0,1\n0.01,2\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_annotations_lose_their_notes_and_keep_times_symbols_and_rhythms(tmp_path: Path) -> None:
    import wfdb

    times, symbols = np.array([10, 2000, 2100, 90_000, 90_500]), ["N", "+", "V", "+", '"']
    notes = ["", "(AFIB", "Anna", "Anna", "asked for water"]
    wfdb.wrann("a", "atr", times, symbols, aux_note=notes, fs=360, write_dir=str(tmp_path))
    path = tmp_path / "a.atr"

    privacy.strip(path)

    kept = wfdb.rdann(str(tmp_path / "a"), "atr")
    assert (kept.sample.tolist(), kept.symbol) == (times.tolist(), symbols)
    assert [note.rstrip("\0") for note in kept.aux_note] == ["", "(AFIB", "", "", ""]
    assert kept.fs == 360
    assert b"Anna" not in path.read_bytes()
    assert labels.counts(path.read_bytes()) == {'"': 1, "(AFIB": 1, "+": 1, "N": 1, "V": 1}
    assert read_beats(path, 360, 100_000, 360).tolist() == [10, 2100]


@pytest.mark.parametrize(
    ("found", "enough"),
    [({"N": 1}, True), ({"(N": 1}, True), ({"+": 1, "(": 3, "~": 2}, False), ({}, False)],
)
def test_a_beat_or_a_rhythm_is_a_label(found: dict[str, int], enough: bool) -> None:
    assert labels.labelled(found) is enough


def test_symbols_are_those_of_the_format() -> None:
    from wfdb.io.annotation import ann_labels

    assert {one.label_store: one.symbol for one in ann_labels if one.symbol != " "} == {
        code: symbol for code, symbol in enumerate(labels.SYMBOLS) if symbol != " "
    }
    assert labels.counts(ATR) == {"N": 2, "V": 1}


def test_a_whole_record_is_stripped_without_a_change_to_its_signal(tmp_path: Path) -> None:
    write_record(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        privacy.strip(path)
    found = opened(tmp_path / "r1.hea")
    assert found.beats is not None
