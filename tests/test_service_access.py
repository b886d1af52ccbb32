"""Who may do what, asked of the database at most once a second."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from psycopg import Error, errors
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from retrace.service import access, keys, problems
from retrace.service.tables import ApiKey, now
from tests.accounts import OTHER, quick, register, rows, service
from tests.serving import PASSWORD, Person, accounts_of, in_process, log_in, service_settings

__all__ = ["quick", "service"]  # fixtures
pytestmark = pytest.mark.usefixtures("quick")
NOBODY = "0" * 32


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/users/me", None, {"none": 200, "staff": 200, "scientist": 200, "admin": 200}),
        ("GET", "/keys", None, {"none": 200, "staff": 200, "scientist": 200, "admin": 200}),
        ("DELETE", f"/keys/{NOBODY}", None, {"none": 404, "staff": 404, "admin": 404}),
        ("GET", "/users", None, {"none": 403, "staff": 403, "scientist": 403, "admin": 200}),
        ("GET", f"/users/{NOBODY}", None, {"none": 403, "staff": 403, "admin": 404}),
        ("PATCH", f"/users/{NOBODY}", {"role": None}, {"none": 403, "staff": 403, "admin": 404}),
        ("DELETE", f"/users/{NOBODY}", None, {"none": 403, "scientist": 403, "admin": 404}),
        ("GET", "/audit", None, {"none": 403, "staff": 403, "scientist": 403, "admin": 200}),
    ],
)
def test_a_role_opens_its_own_routes(
    one_service: tuple[TestClient, dict[str, Person]],
    method: str,
    path: str,
    body: Any,
    expected: dict[str, int],
) -> None:
    client, people = one_service
    assert client.request(method, path, json=body).status_code == 401
    for name, status in expected.items():
        answer = client.request(method, path, json=body, headers=people[name].headers)
        assert answer.status_code == status, (name, answer.text)


@pytest.fixture(scope="module")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with in_process(service_settings(tmp_path_factory.mktemp("access"))) as client:
        yield client, accounts_of(client)


def test_a_key_acts_as_its_maker_and_makes_nothing(
    client: TestClient, service: Any, people: dict[str, Person]
) -> None:
    staff, admin = people["staff"], people["admin"]
    made = client.post("/keys", json={"name": "gateway"}, headers=staff.headers).json()
    mine = {"X-API-Key": made["key"]}

    listed = client.get("/keys", headers=mine).json()
    assert listed == [{k: v for k, v in made.items() if k != "key"}]
    assert made["key"] not in str(vars(rows(service, ApiKey)[0]))
    assert client.get("/users/me", headers=mine).json()["role"] == "staff"
    for method, path, body in (
        ("POST", "/keys", {"name": "more"}),
        ("POST", "/auth/logout", None),
        ("PATCH", "/users/me", {"password": PASSWORD, "new_password": OTHER}),
        ("DELETE", "/users/me", None),
    ):
        assert client.request(method, path, json=body, headers=mine).status_code == 403

    role = {"role": "admin"}
    client.patch(f"/users/{staff.id}", json=role, headers=admin.headers).raise_for_status()
    assert client.get("/users", headers=mine).status_code == 200


def test_a_key_ends(client: TestClient, service: Any, people: dict[str, Person]) -> None:
    """By its date, by its owner, by an admin; by nobody else."""

    def made() -> tuple[str, dict[str, str]]:
        body = {"name": "gateway", "days": 1}
        answer = client.post("/keys", json=body, headers=people["staff"].headers).json()
        mine = {"X-API-Key": answer["key"]}
        assert client.get("/users/me", headers=mine).status_code == 200
        return answer["id"], mine

    for owner, status in (("scientist", 404), ("staff", 204), ("admin", 204)):
        key, mine = made()
        answer = client.delete(f"/keys/{key}", headers=people[owner].headers)
        assert answer.status_code == status
        assert client.get("/users/me", headers=mine).status_code == (401 if status == 204 else 200)
    key, mine = made()
    with service.database.write() as session:
        session.get(ApiKey, key).expires = now()
    service.gate.forget()
    assert client.get("/users/me", headers=mine).status_code == 401


def test_an_account_has_a_bounded_number_of_keys(
    client: TestClient, service: Any, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST", 2)
    answers = [
        client.post("/keys", json={"name": f"key {n}"}, headers=people["staff"].headers)
        for n in range(3)
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 409]


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 101, "\u202e"])
def test_a_key_has_a_printable_name(
    one_service: tuple[TestClient, dict[str, Person]], name: str
) -> None:
    client, people = one_service
    answer = client.post("/keys", json={"name": name}, headers=people["staff"].headers)

    assert answer.status_code == 422


def test_a_second_of_requests_asks_the_database_once(tmp_path: Path) -> None:
    """Whoever comes in, and however many at a time."""
    with in_process(service_settings(tmp_path)) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        register(client)
        headers = log_in(client, "a@example.org")
        sent = [(b"authorization", headers["Authorization"].encode())]
        asked: list[str] = []

        def statement(connection: Any, cursor: Any, text: str, *more: object) -> None:
            if "logins" in text:
                asked.append(text)

        async def many(gate: access.Gate) -> set[str]:
            found = await asyncio.gather(*(gate.admit(sent) for _ in range(100)))
            found += [await gate.admit(sent) for _ in range(100)]
            return {who.email for who in found}

        event.listen(service.database.engine, "before_cursor_execute", statement)
        gate = access.Gate(service.settings, service.database)
        assert asyncio.run(many(gate)) == {"a@example.org"}
        assert len(asked) == 1


def test_what_was_asked_before_a_change_is_not_believed_after_it(tmp_path: Path) -> None:
    """The database answers "active"; then the account is switched off; then the answer arrives."""
    with in_process(service_settings(tmp_path)) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        register(client)
        headers = log_in(client, "a@example.org")
        sent = [(b"authorization", headers["Authorization"].encode())]
        gate = access.Gate(service.settings, service.database)
        find = gate._by_login

        changed, go = threading.Event(), threading.Event()

        def overtaken(login_id: str) -> access.Principal | None:
            found = find(login_id)
            client.post("/auth/logout", headers=headers).raise_for_status()
            gate.forget()
            changed.set()
            go.wait(30)
            return found

        async def before_and_after() -> list[Any]:
            gate._by_login = overtaken  # type: ignore[method-assign]
            before = asyncio.create_task(gate.admit(sent))
            await asyncio.to_thread(changed.wait, 30)
            gate._by_login = find  # type: ignore[method-assign]
            after = asyncio.create_task(gate.admit(sent))
            await asyncio.sleep(0)  # it asks before the first answer has arrived
            go.set()
            later = [await asyncio.gather(one, return_exceptions=True) for one in (before, after)]
            return [*later, await asyncio.gather(gate.admit(sent), return_exceptions=True)]

        before, *after = [answer for (answer,) in asyncio.run(before_and_after())]
        assert before.email == "a@example.org"
        assert [problem.status for problem in after] == [401, 401]


def test_another_process_hears_of_a_logout_within_a_second(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = service_settings(tmp_path, database_url=database_url)
    with in_process(settings) as here, in_process(settings) as there:
        register(here)
        mine = log_in(here, "a@example.org")
        assert there.get("/users/me", headers=mine).status_code == 200
        here.post("/auth/logout", headers=mine).raise_for_status()
        assert here.get("/users/me", headers=mine).status_code == 401

        later = time.monotonic() + access.FRESH
        monkeypatch.setattr("retrace.service.access.time.monotonic", lambda: later)
        assert there.get("/users/me", headers=mine).status_code == 401


def test_no_database_is_no_refusal(
    client: TestClient, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is told 401 would throw its token away."""
    register(client)
    mine = log_in(client, "a@example.org")
    service.gate.forget()
    with monkeypatch.context() as away:
        away.setattr(service.database, "engine", create_engine("sqlite:////nowhere/at/all.db"))
        answer = client.get("/users/me", headers=mine)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")

    assert client.get("/users/me", headers=mine).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [errors.DeadlockDetected, errors.TooManyConnections, errors.CannotConnectNow,
     errors.SerializationFailure, errors.LockNotAvailable, errors.CrashShutdown,
     errors.AdminShutdown],
)  # fmt: skip
def test_a_database_that_cannot_now_is_asked_later(kind: type[Error]) -> None:
    error = DBAPIError.instance("", None, kind("no"), Error)
    answer = asyncio.run(problems._database(None, error))  # type: ignore[arg-type]

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
