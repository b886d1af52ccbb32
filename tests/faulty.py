"""What the tests of faults share: clients that never pause, a model, a PostgreSQL to kill."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from retrace.runs.hashes import md5
from tests.heartbeats import MITBIH, heartbeat
from tests.linear_model import CARD, beats_of, write_model
from tests.serving import PASSWORD, Server, free_port, log_in

POSTGRES = Path("/usr/lib/postgresql/15/bin")
BEATS = beats_of(MITBIH)[:2].tolist()


def publish(root: Path, name: str) -> Path:
    """A repository's published run with a linear model of beats; the model's file."""
    folder = root / "recipes" / name
    folder.mkdir(parents=True)
    model = write_model(folder / "model.onnx", MITBIH)
    (folder / "model.onnx.dvc").write_text(f"outs:\n- md5: {md5(model)}\n  path: model.onnx\n")
    (folder / "model.json").write_text(json.dumps(CARD | {"domain": MITBIH.to_dict()}))
    (folder / "dvc.lock").touch()
    return model


def staff(server: Server) -> dict[str, str]:
    """The headers of a new account with the role staff."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        admin, email = log_in(client, server.admin), "staff@example.org"
        given = {"email": email, "password": PASSWORD}
        account = client.post("/auth/register", json=given)
        if account.status_code == 409:
            return log_in(client, email)
        assert account.status_code == 201, account.text
        role = {"role": "staff"}
        changed = client.patch(f"/users/{account.json()['id']}", json=role, headers=admin)
        assert changed.status_code == 200, changed.text
        return log_in(client, email)


def record(seconds: int) -> dict[str, bytes]:
    """The two files of a WFDB record with one lead."""
    signal = heartbeat(min(seconds, 60), 360, ("MLII",)).signal[0]
    numbers = np.tile(np.round(signal * 200).astype("<i2"), max(1, seconds // 60))
    head = f"r 1 360 {len(numbers)}\nr.dat 16 200 16 0 {numbers[0]} 0 0 MLII\n"
    return {"r.hea": head.encode(), "r.dat": numbers.tobytes()}


def upload(client: httpx2.Client, files: dict[str, bytes]) -> httpx2.Response:
    """POST /recordings with these files."""
    return client.post("/recordings", files=[("files", item) for item in files.items()])


@dataclass
class Writers:
    """Clients that predict, give feedback and upload, each without pause, until they are stopped.

    accepted: the body of each request that was answered 2xx, by kind and id. refused: status and
    sentence of each other answer. broken: how many got no answer.
    """

    url: str
    headers: dict[str, str]
    accepted: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"predictions": {}, "feedback": {}, "recordings": {}}
    )
    refused: list[tuple[int, str]] = field(default_factory=list)
    broken: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        files = record(20)
        steps: dict[str, Callable[[httpx2.Client], httpx2.Response]] = {
            "predictions": lambda client: client.post("/predict/beats", json={"beats": BEATS}),
            "feedback": self._feedback,
            "recordings": lambda client: upload(client, files),
        }
        threads = [
            threading.Thread(target=self._write, args=step) for step in steps.items() for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()

    def await_more(self, count: int) -> None:
        """Return once so many more of each kind are accepted."""
        before = {kind: len(found) for kind, found in self.accepted.items()}
        until(
            lambda: all(len(self.accepted[kind]) >= before[kind] + count for kind in before),
            lambda: f"{self.counts()}, {self.refused[-3:]}",
        )

    def await_broken(self) -> None:
        """Return once requests get no answer."""
        until(lambda: self.broken)

    def counts(self) -> dict[str, int]:
        return {kind: len(found) for kind, found in self.accepted.items()}

    def found(self) -> dict[str, int]:
        """How many of the accepted are there, whole, and can be read and worked with."""
        with httpx2.Client(base_url=self.url, headers=self.headers, timeout=60) as client:
            return {
                "predictions": sum(
                    self._get(client, f"/predictions/{id}").items() >= given.items()
                    for id, given in self.accepted["predictions"].items()
                ),
                "feedback": sum(
                    _same(given, self._get(client, f"/predictions/{given['prediction']}"))
                    for given in self.accepted["feedback"].values()
                ),
                "recordings": sum(
                    self._get(client, f"/recordings/{id}") == given
                    and client.post(f"/predict/recordings/{id}", json={}).status_code == 200
                    for id, given in self.accepted["recordings"].items()
                ),
            }

    @staticmethod
    def _get(client: httpx2.Client, path: str) -> Any:
        found = client.get(path)
        return found.json() if found.status_code == 200 else {"feedback": []}

    def _feedback(self, client: httpx2.Client) -> httpx2.Response:
        while not self.accepted["predictions"]:
            time.sleep(0.01)
        said = {"segment": 1, "label": "V", "comment": f"number {len(self.accepted['feedback'])}"}
        last = list(self.accepted["predictions"])[-1]
        return client.post(f"/predictions/{last}/feedback", json=said)

    def _write(self, kind: str, step: Callable[[httpx2.Client], httpx2.Response]) -> None:
        with httpx2.Client(base_url=self.url, headers=self.headers, timeout=60) as client:
            while not self.stopped.is_set():
                try:
                    answer = step(client)
                except httpx2.TransportError:
                    self.broken += 1
                    self.stopped.wait(0.05)
                    continue
                if answer.is_success:
                    said = answer.json()
                    self.accepted[kind][said["id"]] = said
                else:
                    self.refused.append((answer.status_code, answer.json()["detail"]))
                    self.stopped.wait(0.05)


def _same(given: dict[str, Any], prediction: dict[str, Any]) -> bool:
    """Whether this feedback is among that to the prediction, as it was given."""
    parts = ("id", "segment", "label", "comment")
    return [given[part] for part in parts] in [
        [row[part] for part in parts] for row in prediction["feedback"]
    ]


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of the test's own."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it; what a killed one left in shared memory may take a while to go."""
        until(lambda: self._run("pg_ctl", "-w", "-l", f"{self.folder}/log", "start") == 0)

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")

    def kill(self) -> None:
        """kill -9 of its first process; the others end when they see that."""
        pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def _run(self, command: str, *arguments: str) -> int:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        given = [*arguments, "-D", f"{self.folder}/data"]
        if "start" in arguments:
            given += ["-o", options]
        return subprocess.run(
            [*as_postgres(), POSTGRES / command, *given],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode

    def create(self) -> None:
        assert self._run("initdb", "-A", "trust", "-U", "postgres") == 0


def as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL that runs, in a folder that its user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="retrace-pg-"))
    if as_postgres():
        shutil.chown(folder, "postgres")
    found = Cluster(folder, free_port())
    try:
        found.create()
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def worker_of(server: Server) -> int | None:
    """The process id of the server's worker, None while there is none."""
    for path in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for pid in path.read_text().split():
            if b"retrace.service.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return None


def until(true: Callable[[], object], said: Callable[[], str] = lambda: "") -> None:
    """Return once it holds; two minutes are for machines that are very busy."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.03)
    raise AssertionError(f"it never came true: {said()}")
