"""What is written down of what was done; secrets are not."""

import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from retrace.service import mail
from retrace.service.tables import Table
from tests.accounts import OTHER, bearer, pair, quick
from tests.serving import PASSWORD, Person, in_process, service_settings

__all__ = ["quick"]  # a fixture
pytestmark = pytest.mark.usefixtures("quick")


def test_the_audit_is_read_page_by_page(client: TestClient, people: dict[str, Person]) -> None:
    admin = people["admin"].headers
    whole = client.get("/audit", headers=admin).json()
    pages, before = [], None
    while True:
        query = {"limit": 2} | ({"before": before} if before else {})
        page = client.get("/audit", params=query, headers=admin).json()
        if not page:
            break
        pages += page
        before = page[-1]["id"]

    assert pages == whole
    assert [line["id"] for line in whole] == sorted((line["id"] for line in whole), reverse=True)
    about = {"user": people["staff"].id, "action": "login"}
    lines = client.get("/audit", params=about, headers=admin).json()
    assert [line["user_id"] for line in lines] == [people["staff"].id]


def test_secrets_are_written_nowhere(
    tmp_path: Path,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither in a log, at whatever level, nor in the database, but in a mail that waits."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "sqlalchemy")  # below it prints the rows that it reads
    secrets, queue = list[str](), mail.queue

    def watched(session: Session, to: str, subject: str, body: str) -> None:
        secrets.append(next(line for line in body.splitlines() if len(line) == 43))
        queue(session, to, subject, body)

    monkeypatch.setattr(mail, "queue", watched)
    settings = service_settings(tmp_path, database_url=database_url)
    with in_process(settings) as client:
        secrets += everything(client)
        tables = contents(client)

    # The client's own log, which has the token that it sent as no client should, is not ours.
    logged = [
        f"{record.getMessage()} {record.args}"
        for record in caplog.records
        if not record.name.startswith("httpx")
    ]
    logged += [path.read_text(errors="replace") for path in settings.home.rglob("*.log")]
    assert len(secrets) == 9
    assert any("INSERT INTO audit" in line for line in logged)  # it did speak
    assert any("login.fail" in line for line in tables)
    assert [line for line in tables + logged for secret in secrets if secret in line] == []


def everything(client: TestClient) -> list[str]:
    """Do whatever takes or gives a secret; the secrets."""
    client.post("/auth/register", json={"email": "a@example.org", "password": PASSWORD})
    first = pair(client, "a@example.org").json()
    pair(client, "a@example.org", OTHER)
    refresh = {"refresh_token": first["refresh_token"]}
    second = client.post("/auth/refresh", json=refresh).json()
    mine = bearer(second["access_token"])
    key = client.post("/keys", json={"name": "gateway"}, headers=mine).json()["key"]
    client.get("/users/me", headers={"X-API-Key": key})
    client.get("/users/me", headers=bearer(second["access_token"] + "x"))
    client.get("/users/me", params={"token": second["access_token"]})
    body = {"password": PASSWORD, "new_password": OTHER}
    client.patch("/users/me", json=body, headers=mine)
    client.post("/auth/refresh", json=refresh)
    client.post("/auth/forgot", json={"email": "a@example.org"}).raise_for_status()
    body = {"token": "not-the-token-of-any-mail", "password": OTHER}
    client.post("/auth/reset", json=body)
    client.post("/auth/token", data={"username": PASSWORD, "password": "a@example.org"})

    opaque = [
        token.partition(".")[2] for token in (first["refresh_token"], second["refresh_token"])
    ]
    return [
        PASSWORD,
        OTHER,
        key,
        body["token"],
        *opaque,
        first["access_token"],
        second["access_token"],
    ]


def contents(client: TestClient) -> list[str]:
    """Every row of the database, but for the text of mails."""
    database: Any = client.app.state.service.database  # type: ignore[attr-defined]
    with database.read() as session:
        return [
            str(tuple(row))
            for table in Table.metadata.sorted_tables
            for row in session.execute(
                select(*(c for c in table.c if (table.name, c.name) != ("mails", "body")))
            )
        ]
