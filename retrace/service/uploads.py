"""multipart/form-data, straight into files: no more of it stands in memory than one piece."""

from collections.abc import Collection
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from retrace.deploy.readers.common import quoted
from retrace.service.problems import Problem

FILES = "files"  # the name of the parts that are files
SUFFIXES = (".hea", ".dat", ".atr", ".mat", ".csv", ".tsv", ".npy", ".edf")
PARTS = 64
LONGEST_FIELD = 8 << 10  # bytes
LONGEST_NAME = 100  # bytes of a file name; file systems take 255
HEADERS, LONGEST_HEADER = 8, 2 << 10  # of a part, and bytes of each
getLogger("python_multipart").setLevel("ERROR")  # it warns of each byte that others sent wrong
AT_ONCE = 1 << 20  # bytes that are handed to a thread at a time


@dataclass
class Upload:
    """What came: the files, in the order of their names, not synced yet; and the fields."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


async def receive(
    request: Request, folder: Path, fields: Collection[str] = ("person", "fs")
) -> Upload:
    """Write the files of a multipart request into `folder`, which the caller removes on an error.

    Parts named "files" are files, those in `fields` are text, with a file name or without one.
    Raises Problem: 415 for another type of body, 400 for one that is malformed or breaks off, 422
    for a name or a field that is not taken. (`body.BodyLimits` bounds bytes and time.)
    """
    form = _Form(folder, fields)
    parser = MultipartParser(
        _boundary(request),
        {
            "on_part_begin": form.begin,
            "on_header_field": form.header_field,
            "on_header_value": form.header_value,
            "on_header_end": form.header_end,
            "on_headers_finished": form.headers_finished,
            "on_part_data": form.data,
            "on_part_end": form.end,
        },
        max_header_count=HEADERS,
        max_header_size=LONGEST_HEADER,
    )
    pieces: list[bytes] = []
    waiting = 0
    try:
        async for chunk in request.stream():
            pieces.append(chunk)
            waiting += len(chunk)
            if waiting >= AT_ONCE:
                await run_in_threadpool(parser.write, b"".join(pieces))
                pieces, waiting = [], 0
        await run_in_threadpool(parser.write, b"".join(pieces))
        if parser.state != MultipartState.END:
            raise _malformed("it ends before its last boundary")
    except FormParserError as error:
        raise _malformed(str(error)) from None
    except ClientDisconnect:
        raise _malformed("the connection broke off") from None
    finally:
        form.close()
    form.upload.paths.sort()
    return form.upload


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Problem(
            415,
            f"a body of type {quoted(kind.decode('latin-1'))}; files are sent as "
            "multipart/form-data: with curl, use -F files=@NAME",
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _malformed(f"a boundary of {len(boundary)} bytes, where 1 to 70 must be")
    return boundary


def _malformed(why: str) -> Problem:
    return Problem(400, f"no whole multipart/form-data ({why}); nothing was stored: send it again")


class _Form:
    """The parts of a form as the parser finds them."""

    def __init__(self, folder: Path, fields: Collection[str]) -> None:
        self.upload = Upload(folder)
        self._fields = fields
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""  # of the header that is read
        self._field = ""  # the part that is read: a field, or
        self._file: BinaryIO | None = None
        self._text = bytearray()

    def begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise Problem(422, f"more than {PARTS} parts; a recording needs fewer: send it alone")
        self._headers = {}

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def headers_finished(self) -> None:
        text = self._headers.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(text)
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("a part without Content-Disposition: form-data and its name")
        name = _decoded(options[b"name"])
        if name == FILES:
            path = self.upload.folder / self._file_name(options.get(b"filename"))
            self._file = path.open("xb")
            self.upload.paths.append(path)
        elif name not in self._fields or name in self.upload.fields:
            known = ", ".join((FILES, *self._fields))
            raise Problem(
                422, f"field {quoted(name)}; {known} are taken, a field once: correct the request"
            )
        else:
            self._field = name

    def _file_name(self, given: bytes | None) -> str:
        if given is None:
            raise Problem(422, f"{FILES}: a field without a file name; send files: -F files=@NAME")
        name = safe_name(_decoded(given))
        if name.casefold() in {path.name.casefold() for path in self.upload.paths}:
            raise Problem(422, f"{quoted(name)} came twice; each file has a name of its own")
        return name

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._file:
            self._file.write(memoryview(data)[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > LONGEST_FIELD:
            raise Problem(
                422, f"{self._field}: more than {LONGEST_FIELD} bytes; a field is short: cut it"
            )

    def end(self) -> None:
        if self._file:
            size = self._file.tell()
            self.close()
            if not size:
                name = self.upload.paths[-1].name
                raise Problem(422, f"{name}: empty; a file has content: send it again")
        else:
            self.upload.fields[self._field] = _decoded(bytes(self._text))
            self._text.clear()

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


def safe_name(name: str) -> str:
    """The name of an uploaded file, unchanged: a header refers to files by their names.

    Raises Problem 422 for what is no plain name, or has a suffix that nobody reads.
    """
    plain = name.isprintable() and not any(char in r"/\:" for char in name)  # no RTL marks either
    if not plain or name.startswith((".", "-", "~")) or name != name.strip():
        raise Problem(
            422,
            f"file name {name[:40]!a}; it must be plain: no folder, no control character, no "
            "dot, dash or blank in front: rename it",
        )
    if not 1 <= len(name.encode()) <= LONGEST_NAME:
        raise Problem(422, f"a file name of {len(name)} characters; at most {LONGEST_NAME}: cut it")
    if Path(name).suffix.lower() not in SUFFIXES or name.startswith("."):
        raise Problem(422, f"{name}: {', '.join(SUFFIXES)} are taken: convert it, to CSV or EDF")
    return name


def _decoded(text: bytes) -> str:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(422, "names and fields are text in UTF-8: send them so") from None
    return decoded
