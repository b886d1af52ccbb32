"""Uploads that must be refused: malformed, damaged, lying, enormous. Each from a seed, none random
by itself."""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.input_files import edf, waves

BOUNDARY = "a-boundary-of-our-own"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = {"Content-Type": "application/json"}
RECORDINGS, LABELLED = "/recordings", "/recordings/labelled"
Part = tuple[str, bytes]


@dataclass
class Hostile:
    """A request. body: whole, or made piece by piece and sent without a length."""

    name: str
    body: bytes | Callable[[], Iterator[bytes]]
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": FORM})
    route: str = RECORDINGS


def part(name: str, content: bytes, *headers: str) -> bytes:
    """A part of a form as `form` puts it; headers in place of its Content-Disposition."""
    said = headers or (f'Content-Disposition: form-data; name="files"; filename="{name}"',)
    return "\r\n".join((f"--{BOUNDARY}", *said, "", "")).encode() + content + b"\r\n"


def form(files: Iterable[Part], **fields: str) -> bytes:
    """The body of a well-formed upload."""
    texts = [
        part("", value.encode(), f'Content-Disposition: form-data; name="{name}"')
        for name, value in fields.items()
    ]
    return b"".join([*texts, *(part(*file) for file in files), f"--{BOUNDARY}--\r\n".encode()])


def record(header: str | None = None, dat: bytes | None = None, *more: Part) -> list[Part]:
    """The files of a WFDB record of two leads in format 16, whole unless told else."""
    return [
        ("r1.hea", (HEADER if header is None else header).encode()),
        ("r1.dat", DAT if dat is None else dat),
        *more,
    ]


SAMPLES = 3600
DAT = np.round(200 * waves(2, SAMPLES)).astype("<i2").T.tobytes()
HEADER = "r1 2 360 3600\nr1.dat 16 200/mV 16 0 0 0 0 MLII\nr1.dat 16 200/mV 16 0 0 0 0 V5\n# 69 M\n"
ATR = b"".join(
    (code << 10 | step).to_bytes(2, "little") for code, step in [(1, 100), (1, 300), (5, 400)]
) + bytes(2)


def valid() -> list[Hostile]:
    """One upload of each format that is accepted, to be sent before all others."""
    digital = np.arange(4 * 360, dtype=np.int16).reshape(4, 360)
    f24 = HEADER.replace(" 16 200", " 24 200")
    d24 = b"".join(
        DAT[n : n + 2] + (b"\xff" if DAT[n + 1] > 127 else b"\0") for n in range(0, len(DAT), 2)
    )
    return [
        Hostile("wfdb", form(record(None, None, ("r1.atr", ATR))), route=LABELLED),
        Hostile("wfdb 24", form(record(f24, d24))),
        Hostile("csv", form([("a.csv", table())])),
        Hostile("npy", form([("a.npy", npy(waves()))], fs="360")),
        Hostile("edf", form([("a.edf", edf([digital, digital], reserved="EDF+C"))])),
    ]


def table(head: str = "time,MLII,V5", rows: int = 3600) -> bytes:
    lines = (f"{n / 360:.4f},{a},{b}" for n, (a, b) in enumerate(waves(2, rows).T))
    return "\n".join([head, *lines, ""]).encode()


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def hostile() -> list[Hostile]:
    """All of them."""
    found = [*_headers(), *_signals(), *_segments(), *_annotations(), *_tables(), *_arrays()]
    return [*found, *_edf(), *_forms(), *_names(), *_types(), *_packed(), *_json()]


def _headers() -> Iterator[Hostile]:
    """What a WFDB header may claim."""
    line = "r1.dat 16 200/mV 16 0 0 0 0 MLII"
    claims = {
        "fs": [("2 360", f"2 {fs}") for fs in ("0", "-360", "nan", "inf", "1e9", "1e-9", "x")],
        "signals": [("r1 2 ", f"r1 {n} ") for n in ("0", "-2", "65", "5000", "1e3", "99999999999")],
        "samples": [("3600", n) for n in ("3601", "-1", "1000000000", "9" * 15, "9" * 40, "1.5")],
        "format": [
            ("16 200", f"{fmt} 200")
            for fmt in ("212", "24", "8", "999", "16x0", "16x999999", "16:999999999", "508", "516")
        ],
        "offset": [("16 200", f"{fmt} 200") for fmt in ("16+7000", "16+999999999999999")],
        "gain": [("200/mV", f"{gain}/mV") for gain in ("-200", "nan", "1e999", "1e-30", "abc")],
        "unit": [("/mV", f"/{unit}") for unit in ("kg", "bpm", "m\0V", "%", "V" * 5000)],
        "file": [
            ("r1.dat", name)
            for name in (
                "../r1.dat", "/etc/passwd", "..", "-", "/proc/self/mem", r"..\r1.dat",
                "file:///etc/passwd", "http://127.0.0.1/x", "other.dat", "r1.hea", "~",
            )
        ],
        "lead": [("MLII", "x" * 5000), ("V5", "\u202e" * 90)],
        "checksum": [("16 0 0 0 0 MLII", "16 0 0 12345 0 MLII")],
    }  # fmt: skip
    for kind, changes in claims.items():
        for old, new in changes:
            yield Hostile(f"header: {kind} {new[:24]!r}", form(record(HEADER.replace(old, new))))
    texts = {
        "empty lines": "\n\n\n",
        "comments alone": "# a\n# b\n",
        "one word": "r1\n",
        "a zero byte": HEADER.replace("MLII", "ML\0II"),
        "too few signals": HEADER.replace(line + "\n", ""),
        "65 signals": "r1 65 360 3600\n" + (line + "\n") * 65,
        "2 MB": HEADER + "# x\n" * 500_000,
        "2 MB in a line": HEADER + "#" + "x" * 2_000_000,
        "Latin-1": "\u00e9" * 30,
        "json": json.dumps({"fs": 360}),
        "days": HEADER.replace("360 3600", "20 4000000"),
    }
    for name, text in texts.items():
        yield Hostile(f"header: {name}", form(record(text)))


def _signals() -> Iterator[Hostile]:
    """Signal files that do not fit."""
    for seed in range(12):
        length = int(np.random.default_rng(seed).integers(1, len(DAT)))
        yield Hostile(f"signal: {length} bytes of it", form(record(None, DAT[:length])))
    yield Hostile("signal: more than promised", form(record(None, DAT + DAT)))
    yield Hostile("signal: empty", form(record(None, b"")))
    yield Hostile("signal: nothing but missing samples", form(record(None, b"\0\x80" * 7200)))
    yield Hostile("signal: not sent", form(record()[:1]))
    yield Hostile("signal: without a header", form(record()[1:]))
    yield Hostile("signal: and one more", form(record(None, None, ("r2.dat", DAT))))
    yield Hostile("signal: a .mat alone", form([("r1.mat", b"\0" * 24 + DAT)]))
    flac = HEADER.replace("16 200", "508 200").replace("360 3600", "10000 999999999")
    yield Hostile("signal: FLAC that is none", form(record(flac)))


def _segments() -> Iterator[Hostile]:
    """Records of several segments."""
    headers = {
        "itself": "s/2 2 360 7200\ns 3600\ns 3600\n",
        "one that is missing": "s/2 2 360 7200\nr1 3600\nr9 3600\n",
        "one twice": "s/2 2 360 7200\nr1 3600\nr1 3600\n",
        "a hundred thousand": "s/100000 2 360 3600\n" + "r1 0\n" * 99_999 + "r1 3600\n",
        "a wrong sum": "s/2 2 360 9999\nr1 3600\n~ 3600\n",
        "elsewhere": "s/1 2 360 3600\n../r1 3600\n",
        "nearly all gap": "s/2 2 360 50003600\n~ 50000000\nr1 3600\n",
        "a thousand million": "s/2 2 10000 1000003600\n~ 1000000000\nr1 3600\n",
        "all gap": "s/1 2 360 3600\n~ 3600\n",
        "at another rate": "s/1 2 250 3600\nr1 3600\n",
    }
    for name, header in headers.items():
        files = [*record(), ("s.hea", header.encode())]
        yield Hostile(f"segments: {name}", form(files))
    nested = [("s.hea", b"s/1 2 360 3600\nt 3600\n"), ("t.hea", b"t/1 2 360 3600\ns 3600\n")]
    yield Hostile("segments: a loop of two", form([*record(), *nested]))


def _annotations() -> Iterator[Hostile]:
    """Annotations that are none, or not of this recording."""

    def words(*marks: tuple[int, int]) -> bytes:
        return b"".join((code << 10 | value).to_bytes(2, "little") for code, value in marks)

    broken = {
        "odd": ATR[:-1],
        "no end": ATR[:-2],
        "unknown code": words((1, 10), (50, 10)) + bytes(2),
        "a jump that ends": words((1, 10), (59, 0)),
        "a note that ends": words((1, 10), (63, 200)) + b"abc",
        "beyond the end": words(*[(1, 1000)] * 9) + bytes(2),
        "back in time": words((1, 100), (59, 0)) + b"\xff\xff\x00\xf0" + words((1, 0)) + bytes(2),
        "3 MB": words((1, 1)) * 1_500_000 + bytes(2),
        "jumps alone": (words((59, 0)) + bytes(4)) * 300_000 + words((60, 1)),
        "text": b"no annotations at all, but a sentence",
    }
    for name, content in broken.items():
        yield Hostile(f"annotations: {name}", form(record(None, None, ("r1.atr", content))))
    unlabelled = {
        "none": [],
        "empty": [("r1.atr", bytes(2))],
        "notes alone": [("r1.atr", words((22, 10), (63, 4)) + b"text" + bytes(2))],
        "of another record": [("r2.atr", ATR)],
        "rhythm of free text": [("r1.atr", words((28, 10), (63, 4)) + b"Anna" + bytes(2))],
    }
    for name, more in unlabelled.items():
        yield Hostile(f"labels: {name}", form(record(None, None, *more)), route=LABELLED)
    yield Hostile("labels: of a table", form([("a.csv", table()), ("a.atr", ATR)]), route=LABELLED)


def _tables() -> Iterator[Hostile]:
    """CSV."""
    rows = table("").strip().decode()
    texts: dict[str, bytes] = {
        "a million columns": b",".join([b"1"] * 1_000_000) + b"\n" + b"1," * 999_999 + b"1\n",
        "65 columns": (b"0," * 64 + b"0\n") * 400,
        "no number": b"hello\nworld\n",
        "a header alone": b"time,MLII\n",
        "ragged": table() + b"1,2\n",
        "a word": table() + b"10.0,oops,1\n",
        "a formula": table() + b"10.0,=cmd|' /C calc'!A0,1\n",
        "zero bytes": table().replace(b"0.0028", b"0.00\x0028"),
        "UTF-16": table().decode().encode("utf-16"),
        "nan alone": b"time,MLII\n" + b"".join(b"%.4f,nan\n" % (n / 360) for n in range(3600)),
        "inf alone": b"time,MLII\n" + b"".join(b"%.4f,inf\n" % (n / 360) for n in range(3600)),
        "1e400 alone": b"time,MLII\n" + b"".join(b"%.4f,1e400\n" % (n / 360) for n in range(3600)),
        "counts": b"MLII\n" + b"-90000\n90000\n" * 1800,
        "time backwards": b"time,MLII,V5\n" + "\n".join(rows.splitlines()[::-1]).encode(),
        "time that jumps": table() + b"99.0,1,1\n",
        "time that stands": b"time,MLII\n" + b"1.0,0.5\n" * 3600,
        "time missing": table() + b",1,1\n",
        "kilograms": table("time,MLII (kg),V5 (kg)"),
        "1 Hz": b"time,MLII\n" + b"".join(b"%d,0.5\n" % n for n in range(3600)),
        "no rate": b"MLII\n" + b"0.5\n" * 3600,
        "HTML": b"<html><script>alert(1)</script></html>",
        "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
        "blank": b" \n" * 5000,
        "comments alone": b"# a\n" * 5000,
    }  # fmt: skip
    for name, content in texts.items():
        rate = {"fs": "360"} if name == "counts" else {}
        yield Hostile(f"table: {name}", form([("a.csv", content)], **rate))

    def long_line() -> Iterator[bytes]:
        yield part("a.csv", b"MLII,V5\n")[:-2]
        for _ in range(100):
            yield b"0.5," * (1 << 18)
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    yield Hostile("table: a line of 100 MB", long_line)


def _arrays() -> Iterator[Hostile]:
    """.npy."""
    signal = npy(waves())

    def claimed(header: str) -> bytes:
        text = header.encode() + b" " * (117 - len(header)) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(800)

    def shaped(shape: str, dtype: str = "'<f4'") -> bytes:
        return claimed(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}")

    arrays = {
        "pickled": npy(np.array([{"a": 1}, None], dtype=object)),
        "a bare pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "a huge shape": shaped("(100000000000,)"),
        "a huge product": shaped("(4294967296, 4294967296)"),
        "a shape below zero": shaped("(-1, 200)"),
        "a shape of truths": shaped("(True, 200)"),
        "no axis": shaped("()"),
        "an axis of zero": shaped("(0, 5)"),
        "forty axes": shaped("(" + "1, " * 30 + ")"),
        "a call": claimed("{'descr': __import__('os').system('true'), 'shape': (1,)}"),
        "objects": shaped("(100,)", "'|O'"),
        "fields": shaped("(100,)", "[('a', '<f4'), ('b', '<f4')]"),
        "nested": claimed("(" * 100),
        "magic alone": signal[:6],
        "half a header": signal[:40],
        "version 9": signal[:6] + b"\x09\x00" + signal[8:],
        "a long header": b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little") + b" " * 5000,
        "short": signal[:-8],
        "long": signal + bytes(8),
        "complex": npy(waves().astype(complex)),
        "text": npy(np.array(["a", "b"])),
        "truths": npy(waves() > 0),
        "dates": npy(np.zeros(5000, "M8[s]")),
        "nan alone": npy(np.full((2, 3600), np.nan)),
        "inf alone": npy(np.full((2, 3600), np.inf)),
        "counts": npy(1e5 * waves()),
        "square": npy(np.zeros((900, 900))),
        "70 leads": npy(np.zeros((70, 900))),
        "segments": npy(np.zeros((100, 1, 187), np.float32)),
        "large segments": npy(np.zeros((20_000, 1, 187), np.float32)),
    }
    for name, content in arrays.items():
        yield Hostile(f"array: {name}", form([("a.npy", content)], fs="360"))
    for fs in ("", "0", "-1", "nan", "inf", "1e9", "abc", "360 Hz", "9" * 400):
        yield Hostile(f"array: fs {fs[:9]!r}", form([("a.npy", signal)], fs=fs))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.npy", signal)
    for name in ("a.npy", "a.edf", "a.csv"):
        yield Hostile(f"array: a zip as {name}", form([(name, packed.getvalue())], fs="360"))


def _edf() -> Iterator[Hostile]:
    """EDF, at the places where its numbers stand."""
    digital = np.arange(4 * 360, dtype=np.int16).reshape(4, 360)
    whole = edf([digital, digital])
    places: dict[str, tuple[int, list[bytes]]] = {
        "version": (0, [b"1       ", b"\xffBIOSEMI"]),
        "header bytes": (184, [b"256     ", b"99999999", b"-1      "]),
        "kind": (192, [b"EDF+D", b"BDF+C"]),
        "records": (236, [b"99999999", b"-2      ", b"0       ", b"5       ", b"1e3     "]),
        "seconds": (244, [b"0       ", b"-1      ", b"nan     ", b"1e-9    ", b"1e15    "]),
        "signals": (252, [b"0   ", b"1   ", b"512 ", b"9999", b"-1  "]),
        "unit": (256 + 2 * 96, [b"kg      kg      "]),
        "low": (256 + 2 * 104, [b"0       " * 4, b"nan     " * 4]),
        "digital": (256 + 2 * 120, [b"32767   32767   ", b"1.5     1.5     "]),
        "samples": (256 + 2 * 216, [b"0       0       ", b"-360    ", b"99999999", b"\xb2       "]),
    }
    for name, (place, values) in places.items():
        for value in values:
            content = whole[:place] + value + whole[place + len(value) :]
            yield Hostile(f"edf: {name} {value!r}", form([("a.edf", content)]))
    for length in (0, 100, 256, 700, len(whole) - 2):
        yield Hostile(f"edf: {length} bytes of it", form([("a.edf", whole[:length])]))
    odd = whole[:236] + b"-1      " + whole[244:] + b"x"
    yield Hostile("edf: no number of records, an odd length", form([("a.edf", odd)]))


def _forms() -> Iterator[Hostile]:
    """multipart/form-data that is malformed, or not what is asked for."""
    files = [("a.csv", table())]
    whole = form(files)
    end = f"--{BOUNDARY}--\r\n".encode()
    disposition = 'Content-Disposition: form-data; name="files"; filename="a.csv"'
    bodies = {
        "nothing": b"",
        "no part": end,
        "no end": whole[: -len(end)],
        "half an end": whole[:-6],
        "half a header": whole[:60],
        "something before": b"x" * 5000 + whole,
        "another boundary": whole.replace(BOUNDARY.encode(), b"another-boundary"),
        "bare line feeds": whole.replace(b"\r\n", b"\n"),
        "a part without headers": part("", table(), "") + end,
        "no disposition": part("", table(), "Content-Type: text/csv") + end,
        "an attachment": part("", table(), disposition.replace("form-data", "attachment")) + end,
        "no name": part("", table(), 'Content-Disposition: form-data; filename="a.csv"') + end,
        "no file name": part("", table(), 'Content-Disposition: form-data; name="files"') + end,
        "another field": part("", table(), disposition.replace('"files"', '"file"')) + end,
        "a header of 64 kB": part("", table(), disposition, "X: " + "x" * 65536) + end,
        "a hundred headers": part("", table(), disposition, *["X: x"] * 100) + end,
        "a header without a colon": part("", table(), disposition, "nonsense") + end,
        "65 files": form([(f"{n}.dat", b"x") for n in range(65)]),
        "ten thousand parts": form([(f"{n}.dat", b"x") for n in range(10_000)]),
        "one name twice": form([*files, *files]),
        "one name in two cases": form([*files, ("A.CSV", table())]),
        "two recordings": form([*files, ("b.csv", table())]),
        "an empty file": form([("a.csv", b"")]),
        "a form in a form": form([("a.csv", whole)]),
        "a long field": form(files, person="x" * 9000),
        "a long person": form(files, person="x" * 101),
        "a person of control characters": form(files, person="a\x00b"),
        "a field twice": form(files, fs="360")[: -len(end)] + form([], fs="360"),
        "an unknown field": form(files, admin="true"),
        "no file": form([], person="p-1"),
    }
    for name, body in bodies.items():
        yield Hostile(f"form: {name}", body)
    twice = {"Content-Type": f"{FORM}; boundary=b"}
    yield Hostile("form: two boundaries", whole, twice)
    for boundary in ("", "x" * 300, '""'):
        yield Hostile(
            f"form: boundary {boundary[:9]!r}",
            whole,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )


def _names() -> Iterator[Hostile]:
    """File names that are more than names."""
    names = (
        "../a.csv", "../../../../etc/cron.d/a.csv", "/etc/a.csv", "a/b.csv", r"a\b.csv", "..",
        ".csv", ".a.csv", "", " ", " a.csv", "a.csv ", "~a.csv", "-a.csv", "a\u202evsc.exe.csv",
        "a\u200b.csv", "a\tb.csv", "a\x7f.csv", "a" * 300 + ".csv", "\u00e9" * 60 + ".csv",
        "a:b.csv", "a", "a.exe", "a.csv.exe", "a.zip", "a.pkl", "a.npz", "a.html", "a.svg", "a.py",
        "a.gz", "a.txt",
    )  # fmt: skip
    for name in names:
        yield Hostile(f"name: {name[:24]!r}", form([(name, table())]))
    latin = form([("\u00e9.csv", table())]).replace("\u00e9".encode(), b"\xe9")
    yield Hostile("name: Latin-1", latin)


def _types() -> Iterator[Hostile]:
    """Bodies of other types and lengths."""
    whole = form([("a.csv", table())])
    for kind in (
        "application/json", "text/csv", "application/x-www-form-urlencoded", "multipart/mixed",
        "application/octet-stream", f"multipart/mixed; boundary={BOUNDARY}", "multipart/form-data",
    ):  # fmt: skip
        yield Hostile(f"type: {kind}", whole, {"Content-Type": kind})
    yield Hostile("type: none", whole, {"Content-Type": ""})
    for coding in ("br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "x"):
        headers = {"Content-Type": FORM, "Content-Encoding": coding}
        yield Hostile(f"type: coding {coding}", whole, headers)

    def endless() -> Iterator[bytes]:
        yield part("a.dat", b"")[:-2]
        while True:
            yield bytes(1 << 20)

    yield Hostile("type: without an end", endless)


def _packed() -> Iterator[Hostile]:
    """Compressed bodies."""
    whole = form([("a.csv", table())])
    zipped = gzip.compress(whole, 6)
    zeros = form([("r1.hea", HEADER.encode()), ("r1.dat", bytes(200 << 20))])
    raw = zlib.compressobj(wbits=-15)
    bombs = {
        "zeros": gzip.compress(bytes(100 << 20), 6),
        "a file of zeros": gzip.compress(zeros, 1),
        "zeros in zeros": gzip.compress(gzip.compress(bytes(100 << 20), 6), 6),
        "a gzip in it": gzip.compress(gzip.compress(whole)),
        "not packed": whole,
        "half": zipped[: len(zipped) // 2],
        "a wrong sum": zipped[:-8] + bytes(8),
        "something behind": zipped + b"x",
        "another one behind": zipped + zipped,
        "damaged": zipped[:500] + bytes(50) + zipped[550:],
        "a head alone": zipped[:10],
    }
    for name, body in bombs.items():
        headers = {"Content-Type": FORM, "Content-Encoding": "gzip"}
        yield Hostile(f"gzip: {name}", body, headers)
    deflated = {
        "without its head": raw.compress(whole) + raw.flush(),
        "gzip": zipped,
        "zeros": zlib.compress(bytes(100 << 20)),
    }
    for name, body in deflated.items():
        headers = {"Content-Type": FORM, "Content-Encoding": "deflate"}
        yield Hostile(f"deflate: {name}", body, headers)


def _json() -> Iterator[Hostile]:
    """Bodies of numbers that are none."""
    numbers = b"0.25," * 2000
    long_text = b'"' + b"x" * 600_000 + b'"'
    for name, body, route in (
        ("a long text among numbers", b"[[%b%b]]" % (numbers, long_text), "/predict/beats"),
        ("a text among many", b'[[%b"x"]]' % (b"0.5," * 800_000), "/predict/beats"),
        ("a number beyond all", b"[[1%b,2]]" % (b"0" * 400), "/predict/beats"),
        ("a number of a million digits", b"[[1%b,2]]" % (b"0" * 1_000_000), "/predict/beats"),
        ("in many rows", b"[%b[1]]" % (b"[1,2]," * 9_999), "/predict/beats"),
        ("nested", b"[" * 100_000, "/predict/beats"),
    ):
        yield Hostile(f"json: {name}", b'{"beats":%b}' % body, JSON, route)
    for route, count in (
        ("/predict/beats", 80_000),
        ("/predict/samples", 80_000),
        ("/auth/register", 400_000),
        ("/auth/register", 6_000),
        ("/trainings", 24_000),
    ):
        keys = b",".join(b'"%x":0' % key for key in range(count))
        yield Hostile(f"json: {count} unknown keys to {route}", b"{%b}" % keys, JSON, route)
