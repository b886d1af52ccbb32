"""How many predictions a second the service gives, how soon, and what it does beyond that.

    python -m benchmarks.service [--json FILE] [--seconds S] [--rounds N] [--folder FOLDER]

`retrace serve` runs on loopback in a process of its own, with one worker and a high limit of
requests; wrk (https://github.com/wg/wrk) asks it from a second one: POST /predict/beats, one beat
of 187 samples to mitdb_ds1_ds2_simple_cnn, with an access token. Every answer is judged by the
rules, written to SQLite and synced to the disk before it is given. The peer is the least that
answers such a request: FastAPI, pydantic and ONNX Runtime, without accounts, limits, checks, rules
and storage. Both are asked in turns; the figures are medians of the rounds.

wrk keeps no rate, so latency is told by a client with a schedule: requests go out at half the rate
that was reached, whatever became of those before, and each is timed from when it was due. Beyond
capacity wrk holds three times as many connections as predictions are made at a time.

A busy machine changes everything here but the processor time of a request, which is the server's
own by the operating system's count. What the disk takes for a sync is told beside: no answer can
come sooner. --folder /dev/shm shows the service without a disk.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
import uvloop

from retrace.deploy.session import Session
from retrace.errors import reported
from retrace.files import write_json
from retrace.runs import models

ROOT = Path(__file__).resolve().parents[1]
MODEL, PASSWORD, EMAIL = "mitdb_ds1_ds2_simple_cnn", "of-a-benchmark-alone", "a@example.org"
SLOTS = 64
CONNECTIONS, BEYOND = 32, 3 * SLOTS  # of wrk: to reach the highest rate, and to exceed it
SYNCS = 200
PEER = """
import numpy, onnxruntime, sys
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()

class Beats(BaseModel):
    model: str
    beats: list[list[float]]

@app.post("/predict/beats")
async def beats(given: Beats):
    X = numpy.array(given.beats, numpy.float32)[:, None]
    (logits,) = session.run(["logits"], {"segments": X})
    p = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return {"probabilities": (p / p.sum(axis=1, keepdims=True)).tolist()}

if __name__ == "__main__":
    import uvicorn
    uvicorn.run(app, port=int(sys.argv[2]), http="httptools", loop="uvloop", access_log=False)
"""
SCRIPT = """
wrk.method = "POST"
wrk.body = [==[{body}]==]
wrk.headers["Content-Type"] = "application/json"
{headers}
local thread
function setup(made) thread = made end
function init() codes = "" seen = {{}} end
function response(status)
  seen[status] = (seen[status] or 0) + 1
  codes = ""
  for code, count in pairs(seen) do codes = codes .. code .. "=" .. count .. " " end
end
function done() io.write("codes: " .. thread:get("codes") .. "\\n") end
"""
Row = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """What answers, and the request that it is asked with."""

    name: str
    process: "subprocess.Popen[bytes]"
    url: str
    body: bytes
    headers: dict[str, str]
    script: Path

    def seconds(self) -> float:
        """Processor time so far."""
        found = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(found[11]) + int(found[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory at present."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]

    def request(self) -> bytes:
        """The request as it goes over the wire."""
        told = {"Host": "127.0.0.1", "Content-Type": "application/json"} | self.headers
        told["Content-Length"] = str(len(self.body))
        lines = [f"{name}: {value}" for name, value in told.items()]
        head = "\r\n".join(["POST /predict/beats HTTP/1.1", *lines])
        return head.encode() + b"\r\n\r\n" + self.body


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the database lies, a moment's one")
    given = parser.parse_args()
    rows = []
    print(f"{'':58}{'ours':>10}{'peer':>10}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for row in _rows(Path(folder), given.seconds, given.rounds):
            rows.append(row)
            peer = "" if row["peer"] is None else f"{row['peer']:,.4g}"
            print(f"{row['name']:58}{row['ours']:10,.4g}{peer:>10}  {row['note']}", flush=True)
    if given.json:
        write_json(given.json, rows)


def _rows(folder: Path, seconds: int, rounds: int) -> Iterator[Row]:
    yield _row("a sync of the disk, median", "ms", 1e3 * _sync(folder))
    with ExitStack() as stack:
        ours = stack.enter_context(_service(folder))
        peer = stack.enter_context(_peer(folder))
        _wrk(ours, CONNECTIONS, 3), _wrk(peer, CONNECTIONS, 3)  # nothing is cold
        found: dict[str, list[Row]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            found["ours"].append(_wrk(ours, CONNECTIONS, seconds))
            found["peer"].append(_wrk(peer, CONNECTIONS, seconds))
        for name, unit in (("rate", "1/s"), ("processor", "us"), ("p50", "ms"), ("p99", "ms")):
            said = [median(row[name] for row in found[who]) for who in ("ours", "peer")]
            what = {"rate": "highest rate", "processor": "processor time of a request"}
            yield _row(f"{what.get(name, f'{name} at that rate')}, {CONNECTIONS} connections",
                       unit, *said)  # fmt: skip
        half = median(row["rate"] for row in found["ours"]) / 2
        for rate in (half, 100.0):
            timed = {who.name: _timed(who, rate, seconds) for who in (ours, peer)}
            for share in (0.5, 0.99):
                said = [1e3 * float(np.quantile(timed[name], share)) for name in ("ours", "peer")]
                yield _row(f"p{100 * share:g} at {rate:,.0f} requests a second", "ms", *said)
        before = ours.megabytes()
        beyond = _wrk(ours, BEYOND, 2 * seconds)
        answered = beyond["codes"].get("200", 0) / (2 * seconds)
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(beyond["codes"].items()))
        yield _row(f"answered of {BEYOND} connections", "1/s", answered, note=codes)
        yield _row("memory before", "MB", before)
        yield _row("memory behind", "MB", ours.megabytes())
        if set(beyond["codes"]) - {"200", "429", "503"} or ours.process.poll() is not None:
            raise SystemExit(f"error: beyond capacity it gave {codes}: only 429 and 503 are clean")


def _row(what: str, unit: str, ours: float, peer: float | None = None, note: str = "") -> Row:
    load = os.getloadavg()[0]
    return {"name": f"{what}, {unit}", "unit": unit, "ours": ours, "peer": peer, "note": note,
            "load": load}  # fmt: skip


def _beat() -> list[float]:
    """A beat in units of its recording's quartiles, as the model takes it."""
    t = np.arange(187) - 93
    waves = ((-60, 12, 0.4), (-6, 3, -0.8), (0, 3, 8.0), (7, 3, -1.6), (60, 18, 1.0))
    drawn = sum(height * np.exp(-(((t - at) / wide) ** 2)) for at, wide, height in waves)
    found: list[float] = np.round(drawn - 0.2, 5).tolist()
    return found


@contextmanager
def _service(folder: Path) -> Iterator[Server]:
    home, port = folder / "var", _port()
    environment = os.environ | {
        "RETRACE_ADMIN_EMAIL": EMAIL,
        "RETRACE_ADMIN_PASSWORD": PASSWORD,
        "RETRACE_PREDICT_LIMIT": "10000000/minute",
        "RETRACE_CONCURRENT": str(SLOTS),
        "RETRACE_MODELS": MODEL,
        "OMP_NUM_THREADS": "1",
    }
    serve = [sys.executable, "-m", "retrace.cli", "serve", "--home", str(home)]
    options: dict[str, Any] = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL}
    subprocess.run([*serve, "--init"], check=True, stdin=subprocess.DEVNULL, **options)
    with _started([*serve, "--port", str(port)], f"http://127.0.0.1:{port}", options) as process:
        url = f"http://127.0.0.1:{port}"
        form = {"username": EMAIL, "password": PASSWORD}
        token = httpx2.post(f"{url}/auth/token", data=form).json()["access_token"]
        body = {"model": MODEL, "beats": [_beat()], "domain": "mitbih360"}
        yield _asked("ours", process, url, body, {"Authorization": f"Bearer {token}"}, folder)


@contextmanager
def _peer(folder: Path) -> Iterator[Server]:
    port, program = _port(), folder / "peer.py"
    program.write_text(PEER, encoding="utf-8")
    model = models.find(ROOT, MODEL)
    Session(model)  # it is whole
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command, url = [sys.executable, str(program), str(model), str(port)], f"http://127.0.0.1:{port}"
    with _started(command, url, options) as process:
        yield _asked("peer", process, url, {"model": MODEL, "beats": [_beat()]}, {}, folder)


def _asked(
    name: str,
    process: "subprocess.Popen[bytes]",
    url: str,
    body: dict[str, Any],
    headers: dict[str, str],
    folder: Path,
) -> Server:
    content = json.dumps(body, separators=(",", ":"))
    answer = httpx2.post(f"{url}/predict/beats", content=content,
                         headers=headers | {"Content-Type": "application/json"})  # fmt: skip
    if answer.status_code != 200:
        raise SystemExit(f"error: {name} answers {answer.status_code} {answer.text}: mend that")
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script = folder / f"{name}.lua"
    script.write_text(SCRIPT.format(body=content, headers=lines), encoding="utf-8")
    return Server(name, process, url, content.encode(), headers, script)


@contextmanager
def _started(
    command: list[str], url: str, options: dict[str, Any]
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, **options)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit("error: it ended before it answered: mend what it said")
            try:
                httpx2.get(f"{url}/health", timeout=5)
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _sync(folder: Path) -> float:
    """What the disk of the database takes to keep four pages."""
    taken = []
    with (folder / "sync").open("wb") as file:
        for _ in range(SYNCS):
            file.write(b"\1" * 16384)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return median(taken)


def _wrk(server: Server, connections: int, seconds: int) -> Row:
    """Ask as fast as `connections` can, each waiting for its answer."""
    before = server.seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    command += ["-s", str(server.script), f"{server.url}/predict/beats"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    codes = dict(re.findall(r"(\d+)=(\d+)", said))
    count = sum(map(int, codes.values()))
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def latency(share: int) -> float:
        number, unit = re.search(rf" {share}%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
        return float(number) * units[unit]

    return {
        "codes": {code: int(number) for code, number in codes.items()},
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),  # type: ignore[index]
        "processor": 1e6 * (server.seconds() - before) / count,
        "p50": latency(50),
        "p99": latency(99),
    }


def _timed(server: Server, rate: float, seconds: int) -> list[float]:
    """s until each answer, from when its request was due, at a fixed rate; from a process of its
    own, which has nothing else to do."""
    child, parent = os.pipe(), os.fork()
    if parent == 0:
        with (
            os.fdopen(child[1], "w") as pipe,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            json.dump(runner.run(_schedule(server, rate, seconds)), pipe)
        os._exit(0)
    os.close(child[1])
    with os.fdopen(child[0]) as pipe:
        found: list[float] = json.load(pipe)
    os.waitpid(parent, 0)
    return found


async def _schedule(server: Server, rate: float, seconds: int) -> list[float]:
    host, port = server.url.removeprefix("http://").split(":")
    request, loop, taken = server.request(), asyncio.get_running_loop(), []
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(SLOTS):
        free.put_nowait(await asyncio.open_connection(host, int(port)))
    statuses: Counter[bytes] = Counter()

    async def ask(due: float) -> None:
        reader, writer = await free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        taken.append(loop.time() - due)
        statuses[head[9:12]] += 1
        free.put_nowait((reader, writer))

    start, asked = loop.time() + 0.1, []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        asked.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*asked)
    if set(statuses) != {b"200"}:
        raise SystemExit(f"error: at half the rate it gave {dict(statuses)}: it must answer all")
    return taken


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with reported(status=2):
        main()
