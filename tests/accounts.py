"""What the tests of accounts share: a quick hash, and a look into the tables."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select
from starlette.testclient import TestClient

from retrace.service import passwords
from retrace.service.problems import Problem
from retrace.service.tables import Audit
from tests.serving import PASSWORD

OTHER = "staple of a paper clip"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash in no time; that the real one is slow is argon2's own affair."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", quick)


@pytest.fixture
def service(client: TestClient) -> Any:
    return client.app.state.service  # type: ignore[attr-defined]


def rows(service: Any, table: Any) -> list[Any]:
    with service.database.read() as session:
        return list(session.scalars(select(table).order_by(table.id)))


def actions(service: Any) -> list[str]:
    return [line.action for line in rows(service, Audit)]


def pair(client: TestClient, email: str, password: str = PASSWORD) -> Any:
    return client.post("/auth/token", data={"username": email, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def at_once(work: Callable[[int], object], times: int = 4) -> list[object]:
    """What `work` gives or raises where several threads begin it together."""
    gate, given = threading.Barrier(times), []

    def one(number: int) -> None:
        gate.wait()
        try:
            given.append(work(number))
        except Problem as problem:
            given.append(problem.status)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def register(client: TestClient, email: str = "a@example.org") -> str:
    """The id of a new account with the password PASSWORD."""
    answer = client.post("/auth/register", json={"email": email, "password": PASSWORD})
    return str(answer.raise_for_status().json()["id"])
