"""Headers without an end fill no memory and hold no connection."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from retrace.service import connections
from retrace.service.connections import Bounded

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that says how long a body was, and waits half a second for headers."""
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    app = Starlette(routes=[Route("/", _read, methods=["GET", "POST"])])
    config = uvicorn.Config(app, http=Bounded, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


def _flood(address: tuple[str, int], head: bytes, piece: bytes) -> tuple[int, bytes]:
    """Send `piece` again and again: how many bytes were taken, and what came back."""
    sent = 0
    with socket.create_connection(address, timeout=10) as connection:
        try:
            connection.sendall(head)
            while sent < 16 << 20:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        try:
            return sent, connection.recv(1000)
        except OSError:
            return sent, b""


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"G" * 4096),
        (b"GET /", b"a" * 4096),
        (GET + b"X: ", b"a" * 4096),
        (GET, b"X: a\r\n" * 700),
        (CHUNKED + b"1;", b"a" * 4096),
        (CHUNKED + b"0\r\n", b"X: a\r\n" * 700),
    ],
    ids=["method", "path", "one header", "many headers", "chunk extension", "trailers"],
)
def test_a_flood_is_ended(address: tuple[str, int], head: bytes, piece: bytes) -> None:
    sent, answer = _flood(address, head, piece)

    assert sent < 8 << 20  # what the sockets of both sides hold, not what was offered
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("head", [b"", GET, GET + b"X: a"])
def test_headers_that_do_not_come_end_the_connection(address: tuple[str, int], head: bytes) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head)

        assert connection.recv(1000) == b""


def test_what_is_in_order_is_answered(address: tuple[str, int]) -> None:
    with httpx2.Client(base_url=f"http://{address[0]}:{address[1]}") as client:
        for size in (0, 1, 10 << 20):
            assert client.post("/", content=b"x" * size).text == str(size)
        pieces = (b"x" * 1000 for _ in range(500))
        assert client.post("/", content=pieces).text == "500000"
        assert client.get("/", headers={"X": "a" * 50_000}).status_code == 200
        time.sleep(0.7)  # longer than its patience for headers
        assert client.get("/").status_code == 200
