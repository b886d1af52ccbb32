"""Bodies are bounded while they come: in bytes, in time, and in what they unpack to."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from retrace.service import body
from retrace.service.body import BodyLimits
from tests.serving import Person

LIMIT = 10_000
UPLOAD = 4 << 20
Chunks = list[bytes]


@dataclass
class Outcome:
    """status: of the answer; got: what the route read; came: how many chunks were taken."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    got: int = 0
    content: bytes = b""
    came: int = 0


def send(
    chunks: Chunks | Callable[[int], Awaitable[bytes]],
    headers: dict[str, str] | None = None,
    *,
    path: str = "/predict/beats",
    seconds: float = 30,
    largest: int = LIMIT,
    keep: bool = True,
    read: bool = True,
) -> Outcome:
    """Send chunks to a route that reads its body, or answers without."""
    out = Outcome()

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        out.seen = dict(request.headers)
        status = 200
        try:
            if read:
                async for piece in request.stream():
                    out.got += len(piece)
                    out.content += piece if keep else b""
        except HTTPException as error:
            status = error.status_code
        await JSONResponse({}, status)(scope, receive, send)

    async def receive() -> Message:
        out.came += 1
        if callable(chunks):
            return {"type": "http.request", "body": await chunks(out.came), "more_body": True}
        if out.came > len(chunks):
            return {"type": "http.disconnect"}
        more = out.came < len(chunks)
        return {"type": "http.request", "body": chunks[out.came - 1], "more_body": more}

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            out.status, out.headers = message["status"], dict(message["headers"])

    settings: Any = SimpleNamespace(
        largest_body=largest, largest_upload=UPLOAD, body_seconds=seconds
    )
    said = headers or {"Transfer-Encoding": "chunked"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in said.items()],
    }
    asyncio.run(BodyLimits(route, settings)(scope, receive, sent))
    return out


async def endless(number: int) -> bytes:
    return bytes(1 << 16)


def test_a_body_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert send([bytes(LIMIT - 1), b"x"]).status == 200
    assert send([bytes(LIMIT), b"x"]).status == 413


def test_a_length_above_the_limit_is_refused_before_a_route_sees_it() -> None:
    for length in (str(LIMIT + 1), "9" * 30, "-1", "x"):
        out = send([b"x"], {"Content-Length": length})
        assert (out.status, out.seen) == (413, {})
    assert send([bytes(9)], {"Content-Length": "9"}).got == 9


def test_a_body_without_an_end_is_cut_off_at_the_limit() -> None:
    out = send(endless, path="/recordings", keep=False)

    assert out.status == 413
    assert out.got <= UPLOAD
    assert out.came <= (UPLOAD + body.LINGER_BYTES >> 16) + 2


@pytest.mark.parametrize("path", body.UPLOADS)
def test_files_may_be_larger_than_other_bodies(path: str) -> None:
    assert send([bytes(LIMIT + 1)], path=path).status == 200
    assert send([bytes(LIMIT + 1)], path=path + "s").status == 413


@pytest.mark.parametrize(
    ("path", "most"),
    [("/auth/register", 64 << 10), ("/rules/V", 64 << 10), ("/trainings", 256 << 10),
     ("/predict/beats", 1 << 20), ("/predict/samples", 1 << 20)],
)  # fmt: skip
def test_what_is_read_before_it_is_known_who_asks_is_small(path: str, most: int) -> None:
    assert send([bytes(most)], path=path, largest=1 << 20).status == 200
    assert send([bytes(most + 1)], path=path, largest=1 << 20).status == 413


def test_a_body_that_stands_still_is_given_up() -> None:
    async def stuck(number: int) -> bytes:
        await asyncio.sleep(0 if number < 3 else 3600)
        return b"x"

    out = send(stuck, seconds=0.02)

    assert (out.status, out.got) == (408, 2)
    assert out.headers[b"connection"] == b"close"


@pytest.mark.parametrize(("step", "status"), [(3, 413), (7, 408)])
def test_more_bytes_have_more_time(monkeypatch: pytest.MonkeyPatch, step: int, status: int) -> None:
    looks = iter(range(0, 10_000, step))  # s at each look at the clock; four are earned each time
    monkeypatch.setattr(body, "monotonic", lambda: float(next(looks)))

    async def steady(number: int) -> bytes:
        await asyncio.sleep(0.001)
        return bytes(4 * body.SLOWEST)

    assert send(steady, path="/recordings", seconds=10, keep=False).status == status


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@given(data=st.data())
def test_what_was_packed_arrives_as_it_was(
    coding: str, pack: Callable[[bytes], bytes], data: st.DataObject
) -> None:
    whole = data.draw(st.binary(max_size=300)) * data.draw(st.sampled_from([1, 30]))
    packed = pack(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=5)))
    chunks = [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]

    out = send(chunks, {"Content-Encoding": coding, "Content-Length": str(len(packed))})

    assert (out.status, out.content) == (200, whole)
    assert not out.seen.keys() & {"content-encoding", "content-length"}


def test_a_large_packed_body_passes_in_small_pieces() -> None:
    whole = np.random.default_rng(0).integers(0, 9, UPLOAD, np.uint8).tobytes()
    packed = gzip.compress(whole, 1)
    chunks = [packed[n : n + (1 << 16)] for n in range(0, len(packed), 1 << 16)]
    tracemalloc.start()
    try:
        out = send(
            chunks,
            {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"},
            path="/recordings",
            keep=False,
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert out.got == UPLOAD
    assert peak < 8 * body.PIECE


@pytest.mark.parametrize("size", [LIMIT + 1, 50 << 20])
def test_a_bomb_is_refused_at_the_limit(size: int) -> None:
    out = send([gzip.compress(bytes(size))], {"Content-Encoding": "gzip", "Content-Length": "99"})

    assert (out.status, out.got <= LIMIT) == (413, True)


def test_a_file_of_zeros_is_refused_for_its_ratio() -> None:
    packed = gzip.compress(bytes(UPLOAD - 1))
    out = send([packed], {"Content-Encoding": "gzip", "Content-Length": "99"}, path="/recordings")

    assert (out.status, out.got <= body.SMALL) == (413, True)


WHOLE = gzip.compress(b"abc" * 500)


@pytest.mark.parametrize(
    "chunks",
    [[WHOLE[:-1]], [WHOLE[:5]], [b""], [WHOLE, b"x"], [WHOLE + b"x"], [WHOLE + WHOLE],
     [WHOLE, WHOLE], [WHOLE[:-8] + bytes(8)], [b"{}"], [zlib.compress(b"abc")]],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_malformed(chunks: Chunks) -> None:
    headers = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}

    assert send(chunks, headers).status == 400


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "GZIP2", "*"])
def test_another_encoding_is_not_read(coding: str) -> None:
    out = send([b"x"], {"Content-Encoding": coding, "Content-Length": "1"})

    assert (out.status, out.seen) == (415, {})
    assert out.headers[b"accept-encoding"] == b"gzip, deflate"


def test_behind_an_early_answer_a_little_is_read_and_the_connection_ends() -> None:
    out = send(endless, path="/recordings", read=False)

    assert (out.status, out.headers[b"connection"]) == (200, b"close")
    assert out.came == body.LINGER_BYTES >> 16
    whole = send([b"x"], {"Content-Length": "1"})
    assert b"connection" not in whole.headers


def test_the_application_has_these_limits(client: TestClient, people: dict[str, Person]) -> None:
    most = client.app.state.service.settings.largest_body  # type: ignore[attr-defined]
    large = islice((bytes(1 << 20) for _ in iter(int, 1)), most // (1 << 20) + 1)
    for path in ("/predict/beats", f"/predict/recordings/{'0' * 32}", "/auth/register"):
        answer = client.post(path, content=large, headers=people["staff"].headers)
        assert answer.status_code == 413, (path, answer.text)
        assert list(answer.json()) == ["detail"]
        large = islice((bytes(1 << 20) for _ in iter(int, 1)), most // (1 << 20) + 1)


def test_a_packed_request_is_counted_by_its_route(client: TestClient) -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = client.post("/auth/register", content=gzip.compress(b"{}"), headers=packed)

    assert answer.status_code == 422
    counted = 'retrace_requests_total{method="POST",route="/auth/register",status="422"} 1.0'
    assert counted in client.get("/metrics").text


def test_of_many_errors_a_few_are_told_and_none_at_length(client: TestClient) -> None:
    unknown = {f"{number}{'x' * 3000}": 0 for number in range(12)}
    said = client.post("/auth/register", json=unknown).json()["detail"]

    assert said.count(";") == 9
    assert len(said) < 10 * 200
