"""Logins and passwords: who comes in, for how long, and nothing said about who exists."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import event, select
from starlette.testclient import TestClient

from retrace.service import logins, passwords
from retrace.service.problems import Problem
from retrace.service.tables import Audit, Login, Reset, User, now
from tests.accounts import OTHER, actions, at_once, bearer, pair, quick, register, rows, service
from tests.serving import PASSWORD, log_in

__all__ = ["quick", "service"]  # fixtures
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def work(service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What was done: the parameters of each argon2 comparison, and each statement."""
    done: list[object] = []
    real = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)

    class Watched:
        def hash(self, password: str) -> str:
            done.append("hash")
            return real.hash(password)

        def verify(self, digest: str, password: str) -> bool:
            done.append(extract_parameters(digest))
            return real.verify(digest, password)

    def statement(connection: Any, cursor: Any, text: str, *more: object) -> None:
        if threading.current_thread().name.startswith("AnyIO"):  # of a request
            done.append(text)

    monkeypatch.setattr(passwords, "HASHER", Watched())
    event.listen(service.database.engine, "before_cursor_execute", statement)
    yield done
    event.remove(service.database.engine, "before_cursor_execute", statement)


def test_a_failed_login_does_not_tell_who_exists(
    client: TestClient, service: Any, work: list[object]
) -> None:
    """Not by its words, and not by its time: the work is the same."""
    for name in ("here", "off"):
        register(client, f"{name}@example.org")
    with service.database.write() as session:
        session.scalars(select(User).where(User.email == "off@example.org")).one().active = False

    seen = []
    for email, password in (
        ("here@example.org", OTHER),
        ("nobody@example.org", OTHER),
        ("nobody", OTHER),
        ("off@example.org", OTHER),
        ("off@example.org", PASSWORD),
    ):
        work.clear()
        answer = pair(client, email, password)
        seen.append((answer.status_code, answer.content, answer.headers, list(work)))

    assert seen[0][0] == 401
    assert sum(step == RFC_9106_LOW_MEMORY for step in seen[0][3]) == 1
    assert all(other == seen[0] for other in seen[1:])


def test_the_memory_for_hashing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time, so many behind them; the others are told to come again."""
    most, inside, go = [0], [0], threading.Event()
    lock, given = threading.Lock(), list[object]()

    class Slow:
        def hash(self, password: str) -> str:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            go.wait(30)
            with lock:
                inside[0] -= 1
            return "hash"

    def one() -> None:
        try:
            given.append(passwords.hashed(PASSWORD))
        except Problem as problem:
            given.append(problem.status)

    monkeypatch.setattr(passwords, "HASHER", Slow())
    crowd = passwords.AT_ONCE + passwords.WAITING
    threads = [threading.Thread(target=one) for _ in range(crowd + 3)]
    for thread in threads:
        thread.start()
    while len(given) < 3:
        threads[-1].join(0.01)
    go.set()
    for thread in threads:
        thread.join()

    assert given[:3] == [503] * 3
    assert given[3:] == ["hash"] * crowd
    assert most[0] == passwords.AT_ONCE


def test_a_refresh_token_works_once(client: TestClient, service: Any) -> None:
    register(client)
    first = pair(client, "a@example.org").json()
    elsewhere = log_in(client, "a@example.org")

    def renew(token: str) -> Any:
        return client.post("/auth/refresh", json={"refresh_token": token})

    second = renew(first["refresh_token"]).json()
    mine = bearer(second["access_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert client.get("/users/me", headers=mine).status_code == 200

    assert renew(first["refresh_token"]).status_code == 401
    assert renew(second["refresh_token"]).status_code == 401  # the whole login has ended
    assert client.get("/users/me", headers=mine).status_code == 401
    assert client.get("/users/me", headers=elsewhere).status_code == 200
    assert actions(service)[-1] == "refresh.reuse"


def test_of_two_who_renew_at_once_none_keeps_the_login(client: TestClient, service: Any) -> None:
    register(client)
    token = pair(client, "a@example.org").json()["refresh_token"]

    given = at_once(lambda number: logins.renew(service, token))

    assert sum(isinstance(one, logins.Pair) for one in given) == 1
    assert rows(service, Login)[0].revoked


def test_who_logs_out_stays_logged_in_elsewhere(client: TestClient) -> None:
    register(client)
    here, there = log_in(client, "a@example.org"), log_in(client, "a@example.org")
    client.post("/auth/logout", headers=here).raise_for_status()

    assert client.get("/users/me", headers=here).status_code == 401
    assert client.get("/users/me", headers=there).status_code == 200


def test_a_new_password_ends_the_other_logins(client: TestClient, service: Any) -> None:
    register(client)
    here, there = log_in(client, "a@example.org"), log_in(client, "a@example.org")

    def change(present: str, wanted: str) -> int:
        body = {"password": present, "new_password": wanted}
        return client.patch("/users/me", json=body, headers=here).status_code

    assert [change(OTHER, OTHER), change(PASSWORD, "short"), change(PASSWORD, OTHER)] == [
        403,
        422,
        204,
    ]
    assert client.get("/users/me", headers=here).status_code == 200
    assert client.get("/users/me", headers=there).status_code == 401
    assert [pair(client, "a@example.org", word).status_code for word in (PASSWORD, OTHER)] == [
        401,
        200,
    ]
    assert actions(service)[-4:] == ["password.fail", "password.change", "login.fail", "login"]


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The address, and the token, of each mail."""
    sent: list[tuple[str, str]] = []

    def queue(session: object, to: str, subject: str, body: str) -> None:
        sent.append((to, next(line for line in body.splitlines() if len(line) == 43)))

    monkeypatch.setattr("retrace.service.mail.queue", queue)
    return sent


def test_a_forgotten_password_is_set_anew_and_logins_and_keys_end(
    client: TestClient, service: Any, mails: list[tuple[str, str]]
) -> None:
    register(client)
    before = log_in(client, "a@example.org")
    key = client.post("/keys", json={"name": "k"}, headers=before).raise_for_status().json()
    assert client.get("/users/me", headers={"X-API-Key": key["key"]}).status_code == 200

    def reset(token: str, password: str = OTHER) -> int:
        return client.post("/auth/reset", json={"token": token, "password": password}).status_code

    for _ in range(2):
        known, unknown = (
            client.post("/auth/forgot", json={"email": email})
            for email in ("A@example.org", "nobody@example.org")
        )
        assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert [to for to, _ in mails] == ["a@example.org"] * 2

    first, token = (token for _, token in mails)
    assert [reset(first), reset("x" * 43), reset(token, "short")] == [422] * 3
    assert reset(token) == 204
    assert reset(token) == 422
    assert client.get("/users/me", headers=before).status_code == 401
    assert client.get("/users/me", headers={"X-API-Key": key["key"]}).status_code == 401
    assert ("key.delete", key["id"]) in [
        (line.action, line.subject) for line in rows(service, Audit)
    ]
    words = (PASSWORD, OTHER)
    assert [pair(client, "a@example.org", word).status_code for word in words] == [401, 200]


def test_a_reset_ends_after_an_hour(
    client: TestClient, service: Any, mails: list[tuple[str, str]]
) -> None:
    register(client)
    client.post("/auth/forgot", json={"email": "a@example.org"})
    kept = rows(service, Reset)[0]
    assert timedelta(minutes=59) < kept.expires - now() <= timedelta(minutes=60)
    with service.database.write() as session:
        session.get(Reset, kept.id).expires = now()

    body = {"token": mails[0][1], "password": OTHER}
    assert client.post("/auth/reset", json=body).status_code == 422
