"""Hostile uploads: each is refused in one sentence, leaves nothing, and costs little."""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.hostile import Hostile, hostile, valid
from tests.serving import Server, log_in, running

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="time and memory are read from Linux's /proc"
)
TICKS = os.sysconf("SC_CLK_TCK")
SECONDS, BYTES = 1.0, 64 << 20
UPLOAD = str(128 << 20)  # of the default 256 MB the disk alone may take the second


@dataclass(frozen=True)
class Cost:
    """What a request took of the server: processor (s), memory at most (bytes), wall (s)."""

    processor: float
    memory: int
    wall: float


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("hostile") / "var"
    with running(home, RETRACE_WORKER="false", RETRACE_LARGEST_UPLOAD=UPLOAD) as server:
        yield server


@pytest.fixture(scope="module")
def headers(server: Server) -> dict[str, str]:
    """Of an account that may also send labelled recordings."""
    with httpx2.Client(base_url=server.url) as client:
        account = {"email": "scientist@example.org", "password": "correct-horse-battery"}
        made = client.post("/auth/register", json=account).json()
        admin = log_in(client, server.admin)
        role = {"role": "data_scientist"}
        assert client.patch(f"/users/{made['id']}", json=role, headers=admin).status_code == 200
        return log_in(client, account["email"])


def sent(server: Server, headers: dict[str, str], given: Hostile) -> tuple[int, Any]:
    """The answer, read while the body is still being sent: a client may be cut off."""
    url = urlsplit(server.url)
    pieces = [given.body] if isinstance(given.body, bytes) else given.body()
    length = f"Content-Length: {len(given.body)}" if isinstance(given.body, bytes) else ""
    lines = [f"{name}: {value}" for name, value in (headers | given.headers).items() if value]
    lines += ["Host: test", "Connection: close", length or "Transfer-Encoding: chunked"]
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        head = "\r\n".join([f"POST {given.route} HTTP/1.1", *lines, "", ""])
        try:
            connection.sendall(head.encode("latin-1"))
            for piece in pieces:
                if not length:
                    piece = b"%x\r\n%b\r\n" % (len(piece), piece)
                connection.sendall(piece)
            connection.sendall(b"" if length else b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    try:
        return int(head.split()[1]), json.loads(body)
    except ValueError:
        return int(head.split()[1]), body


def one_sentence(said: Any, server: Server) -> bool:
    """Whether it is an error as all are, and names no folder of the server."""
    if not isinstance(said, dict) or said.keys() != {"detail"}:
        return False
    return said["detail"].isprintable() and str(server.home)[:12] not in said["detail"]


def measured(server: Server, headers: dict[str, str], given: Hostile) -> tuple[int, Any, Cost]:
    proc = Path(f"/proc/{server.process.pid}")

    def processor() -> float:
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(name: str) -> int:
        lines = (proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

    (proc / "clear_refs").write_text("5")  # the peak begins anew
    before, resident, begun = processor(), memory("VmRSS"), time.monotonic()
    status, said = sent(server, headers, given)
    wall = time.monotonic() - begun
    return status, said, Cost(processor() - before, memory("VmHWM") - resident, wall)


def test_every_hostile_upload_is_refused_at_little_cost_and_leaves_nothing(
    server: Server, headers: dict[str, str]
) -> None:
    for given in valid():  # libraries are loaded, and what is refused is not refused for nothing
        assert sent(server, headers, given)[0] == 201, given.name
    kept = sorted(server.home.glob("recordings/*"))
    with httpx2.Client(base_url=server.url, headers=headers) as client:
        listed = client.get("/recordings").json()
        assert len(listed) == len(kept) == len(valid())
        costs, wrong = {}, []
        cases = hostile()
        for given in cases:
            status, said, cost = measured(server, headers, given)
            costs[given.name] = cost
            if (
                not (400 <= status < 500 and one_sentence(said, server))
                or cost.processor > SECONDS
                or cost.memory > BYTES
            ):
                wrong.append((given.name, status, said, cost))
        if report := os.environ.get("RETRACE_HOSTILE_REPORT"):
            Path(report).write_text(json.dumps({name: vars(cost) for name, cost in costs.items()}))
        assert wrong == [], "\n".join(map(str, wrong))
        assert client.get("/recordings").json() == listed
    assert sorted(server.home.glob("recordings/*")) == kept
    assert [path for path in server.home.glob("incoming/*") if path.name != ".lock"] == []
    assert len(cases) >= 200
