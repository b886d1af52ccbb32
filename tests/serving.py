"""The service for tests: settings, a database of its own, accounts, in process and as a process."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from tests.sources import ROOT

SECRET = "no-secret-but-long-and-varied-0123456789"
PASSWORD = "correct-horse-battery"
SERVER = os.environ.get("RETRACE_TEST_POSTGRES", "")
ROLES = {"staff": "staff", "scientist": "data_scientist", "admin": "admin", "none": None}


def service_settings(tmp_path: Path, **changes: Any) -> Any:
    """Settings with a folder below `tmp_path`, the repository's models, and no rate in the way."""
    from retrace.service.settings import Settings

    given: dict[str, Any] = {
        "secret": SECRET,
        "home": tmp_path / "var",
        "root": ROOT,
        "models": "mitdb_ds1_ds2,mitdb_ds1_ds2_simple_cnn",  # all of them take half a second
        "predict_limit": "100000/minute",
        "train_limit": "100000/minute",
        "login_limit": "100000/minute",
        "worker": False,  # `worker.work_once` does the jobs, where a test wants them done
    }
    (tmp_path / "var").mkdir(mode=0o700, exist_ok=True)
    return Settings(**given | changes)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                not SERVER, reason="RETRACE_TEST_POSTGRES names no PostgreSQL server"
            ),
        ),
    ]
)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """DATABASE_URL of an empty database: "" for SQLite in HOME, then one of a PostgreSQL server."""
    if request.param == "sqlite":
        yield ""
        return
    with postgres_database() as url:
        yield url


@contextmanager
def postgres_database() -> Iterator[str]:
    """The address of a new, empty database of the server, which is dropped behind."""
    name = f"retrace_{secrets.token_hex(8)}"
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield f"{SERVER.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(SERVER, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def in_process(settings: Any) -> Iterator[TestClient]:
    """The application in this process, started and stopped; `client.app.state.service`."""
    from retrace.service.app import create_app

    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def client(tmp_path: Path, database_url: str) -> Iterator[TestClient]:
    """The application in this process, once on each database."""
    with in_process(service_settings(tmp_path, database_url=database_url)) as client:
        yield client


@dataclass(frozen=True)
class Person:
    """An account, and the headers of a request in its name."""

    id: str
    email: str
    headers: dict[str, str]


@pytest.fixture
def people(client: TestClient) -> dict[str, Person]:
    """The accounts staff, scientist, admin and none (which no admin has given a role)."""
    return accounts_of(client)


def accounts_of(client: TestClient) -> dict[str, Person]:
    """The same four accounts, made in the application of this client; the password: PASSWORD."""
    from retrace.service import accounts

    service: Any = client.app.state.service  # type: ignore[attr-defined]
    made = {}
    for name, role in ROLES.items():
        email = f"{name}@example.org"
        with service.database.write() as session:
            user_id = accounts.create(session, email, PASSWORD, role=role).id
        made[name] = Person(user_id, email, log_in(client, email))
    return made


def log_in(client: Any, email: str, password: str = PASSWORD) -> dict[str, str]:
    """The Authorization header of a new login. client: of starlette or httpx2."""
    answer = client.post("/auth/token", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@dataclass(frozen=True)
class Server:
    """A `retrace serve` that runs. admin: its first account's email (the password: PASSWORD)."""

    url: str
    home: Path
    process: "subprocess.Popen[bytes]"
    admin: str = "admin@example.org"

    def said(self) -> str:
        """What it printed so far, stdout and stderr."""
        return (self.home / "said.txt").read_text(encoding="utf-8", errors="replace")


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(home: Path, *arguments: str, port: int = 0, **environment: str) -> Iterator[Server]:
    """A real `retrace serve` on a free port, prepared by --init; ended by its process id.

    arguments: more of the command line, as "--only", "predictor". environment: as
    DATABASE_URL="postgresql://...", RETRACE_PREDICT_LIMIT="5/minute".
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "RETRACE_SECRET": SECRET,
        "RETRACE_ADMIN_EMAIL": Server.admin,
        "RETRACE_ADMIN_PASSWORD": PASSWORD,
        "RETRACE_PREDICT_LIMIT": "100000/minute",
        "RETRACE_TRAIN_LIMIT": "100000/minute",
        "RETRACE_LOGIN_LIMIT": "100000/minute",
        "RETRACE_MODELS": "mitdb_ds1_ds2,mitdb_ds1_ds2_simple_cnn",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    command = [sys.executable, "-m", "retrace.cli", "serve", "--home", str(home)]
    if "--only" not in arguments:
        subprocess.run(
            [*command, "--init"], cwd=ROOT, env=env, check=True, stdin=subprocess.DEVNULL
        )
    home.mkdir(exist_ok=True)
    with (home / "said.txt").open("ab") as said:
        process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    server = Server(url, home, process)
    try:
        _await(server, "/v2/health/live" if "predictor" in arguments else "/health")
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(server: Server, path: str, seconds: float = 60) -> None:
    """Return once it answers; say what it printed where it ended instead."""
    import httpx2

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"serve ended: {server.said()}")
        try:
            if httpx2.get(server.url + path, timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{server.url}{path}: no answer in {seconds} s: {server.said()}")
