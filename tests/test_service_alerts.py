"""Alerts: what is flagged is stored with its prediction, listed, mailed, and seen by somebody."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from retrace.service import alerts, mail, predictions, tables
from retrace.service.rules import Rule
from retrace.service.writer import insert_all
from tests.desk import DATABASES, Desk, beats, open_desk

RECIPIENTS = "ward@example.org, desk@example.org"


@pytest.fixture(scope="module", params=DATABASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Desk]:
    changes = {"alert_mail": RECIPIENTS, "public_url": "https://ecg.example.org/"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mail, "sending", lambda *_: nullcontext())  # the tests look for themselves
        with open_desk(request.param, tmp_path_factory.mktemp("desk"), **changes) as desk:
            yield desk


@pytest.fixture
def desk(opened: Desk) -> Desk:
    opened.clear()
    by = opened.people["staff"].id
    opened.service.rules.set("V", Rule(0.5, count=2), by=by)
    opened.service.rules.set("S", Rule(0.5), by=by)
    return opened


def mailed(desk: Desk) -> list[tables.Mail]:
    """Look for what is to be mailed, as the thread does."""
    alerts.mail_due(desk.service.database, desk.service.settings)
    with desk.service.database.read() as session:
        return list(session.scalars(select(tables.Mail).order_by(tables.Mail.id)))


def a_minute_passes(desk: Desk) -> None:
    with desk.service.database.write() as session:
        for row in session.scalars(select(tables.Alert).where(tables.Alert.mail.is_not(None))):
            row.mail -= timedelta(minutes=1)


def test_what_is_flagged_is_listed_with_its_reason_the_newest_first(desk: Desk) -> None:
    one = desk.predicted(beats("NVVS"))
    desk.predicted(beats("NNN"))
    two = desk.predicted(beats("S"), placed=False)

    newest, *others = desk.ask("GET", "/alerts").json()
    assert (newest["prediction"], newest["class"], newest["level"]) == (two["id"], "S", "segment")
    assert {row["prediction"] for row in others} == {one["id"]}
    assert sorted((row["class"], row["level"]) for row in others) == [
        ("S", "segment"),
        ("V", "recording"),
        ("V", "segment"),
    ]
    (of_recording,) = [row for row in others if row["level"] == "recording"]
    assert of_recording["reason"] == "V: 2 beats, rule: at least 2"
    assert of_recording["word"] == "Ventricular"


def test_an_alert_stands_and_falls_with_its_prediction(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(alerts, "raised", fails)
        with pytest.raises(ZeroDivisionError):
            desk.predicted(beats("V"))
    with desk.service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Prediction)) == 0
    said = desk.predicted(beats("V"))
    assert len(desk.ask("GET", "/alerts").json()) == 1
    with desk.service.database.write() as session:
        session.execute(delete(tables.Prediction).where(tables.Prediction.id == said["id"]))
    assert desk.ask("GET", "/alerts").json() == []


def test_alerts_are_for_staff(desk: Desk) -> None:
    desk.predicted(beats("V"))
    (alert,) = desk.ask("GET", "/alerts").json()

    for who, status in (("", 401), ("none", 403), ("scientist", 403), ("admin", 403)):
        assert desk.ask("GET", "/alerts", who).status_code == status
        assert desk.ask("POST", f"/alerts/{alert['id']}/seen", who).status_code == status
    assert desk.ask("GET", "/alerts?unseen=true").json() == [alert]


def test_who_has_seen_an_alert_first_stays_noted(desk: Desk) -> None:
    desk.predicted(beats("V"))
    desk.predicted(beats("V"))
    newer, older = desk.ask("GET", "/alerts").json()

    seen = desk.ask("POST", f"/alerts/{older['id']}/seen").json()
    assert seen["seen_by"] == desk.people["staff"].id
    assert seen["seen"] is not None
    assert desk.ask("POST", f"/alerts/{older['id']}/seen").json() == seen
    assert desk.ask("GET", "/alerts?unseen=true").json() == [newer]
    with desk.service.database.read() as session:
        lines = session.scalars(select(tables.Audit).where(tables.Audit.action == "alert.seen"))
        assert [(line.user_id, line.subject) for line in lines] == [(seen["seen_by"], older["id"])]


@pytest.mark.parametrize("id", ["0" * 32, "0" * 31, "x" * 32, "%00"])
def test_what_is_no_alert_cannot_be_seen(desk: Desk, id: str) -> None:
    status = 404 if id == "0" * 32 else 422
    assert desk.ask("POST", f"/alerts/{id}/seen").status_code == status


def test_alerts_of_a_class_and_page_by_page(desk: Desk) -> None:
    for names in ("V", "S", "V", "V"):
        desk.predicted(beats(names))

    of_v = desk.ask("GET", "/alerts?class=V").json()
    assert [row["class"] for row in of_v] == ["V", "V", "V"]
    page = desk.ask("GET", "/alerts?class=V&limit=2").json()
    assert page == of_v[:2]
    assert desk.ask("GET", f"/alerts?class=V&before={page[-1]['id']}").json() == of_v[2:]
    for query in ("limit=0", "limit=1001", "before=1", "class=%00", "unseen=perhaps"):
        assert desk.ask("GET", f"/alerts?{query}").status_code == 422


def test_a_flood_of_flagged_beats_is_one_mail_to_each(desk: Desk) -> None:
    service = desk.service
    entries = [
        predictions.judged(
            service,
            desk.people["scientist"].id,
            beats("V"),
            service.models.get(None),
            kind="beats",
            placed=False,
        )[0]
        for _ in range(1000)
    ]
    with service.database.write() as session:
        insert_all(session, entries)

    assert mailed(desk) == []  # there may come more
    a_minute_passes(desk)
    rows = mailed(desk)
    assert {row.to for row in rows} == {"ward@example.org", "desk@example.org"}
    assert rows[0].subject == "Retrace: 1000 alerts: Ventricular"
    assert rows[0].body.count("/predictions/") == alerts.TOLD
    assert "And 950 more: https://ecg.example.org/alerts?unseen=true" in rows[0].body
    assert len(mailed(desk)) == 2  # nothing is told twice
    assert len(desk.ask("GET", "/alerts?limit=1000").json()) == 1000


def test_a_mail_says_what_was_flagged_and_nothing_of_the_person(desk: Desk) -> None:
    said = desk.predicted(beats("NVV", name="Jane Doe"))
    a_minute_passes(desk)
    row = mailed(desk)[0]

    assert f"https://ecg.example.org/predictions/{said['id']}" in row.body
    assert "Ventricular (recording). V: 2 beats, rule: at least 2" in row.body
    assert "Jane" not in row.body + row.subject
    assert "0.9" not in row.body  # no signal, no probability
    assert desk.people["scientist"].email not in row.body


def test_the_mail_arrives(desk: Desk) -> None:
    desk.predicted(beats("V"))
    a_minute_passes(desk)
    service = desk.service
    mailed(desk)
    mail.Outbox(service.settings, service.database, lambda: None).round(Event())

    folder = service.settings.home / "mail"
    found = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in folder.glob("*.eml")
    ]
    assert {"ward@example.org", "desk@example.org"} <= {message["To"] for message in found}
    assert all(message["Subject"].startswith("Retrace: ") for message in found)


def test_without_recipients_nothing_waits_to_be_mailed(desk: Desk) -> None:
    quiet = desk.service.settings.model_copy(update={"alert_mail": ""})
    said = desk.predicted(beats("N"))
    verdict = desk.service.rules.current().judge(beats("V"))
    with desk.service.database.write() as session:
        alerts.raised(session, said["id"], verdict, quiet)

    (row,) = desk.ask("GET", "/alerts").json()
    assert row["prediction"] == said["id"]
    a_minute_passes(desk)
    assert mailed(desk) == []
