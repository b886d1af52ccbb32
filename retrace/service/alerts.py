"""Alerts: what is flagged waits for somebody to look at it again."""

from datetime import timedelta
from itertools import groupby

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from retrace.deploy.answers import STATEMENT, word
from retrace.service import audit, mail
from retrace.service.database import Database
from retrace.service.problems import Problem
from retrace.service.rules import Verdict
from retrace.service.settings import Settings
from retrace.service.tables import Alert, Table, now

TOLD = 50  # alerts that a mail names; it counts the others
_ALERTS = Table.metadata.tables[Alert.__tablename__]


def raised(session: Session, prediction_id: str, verdict: Verdict, settings: Settings) -> None:
    """Store an alert for each class and level that is flagged, in the transaction of the
    prediction, which is in the database already. They are mailed `settings.alert_seconds` later,
    with all that were raised until then."""
    if not verdict.flags:
        return
    created = now()
    due = created + timedelta(seconds=settings.alert_seconds)
    told = bool(mail.addresses(settings.alert_mail))
    session.flush()
    session.connection().execute(
        insert(_ALERTS),
        [
            {
                "prediction_id": prediction_id,
                "name": flag.name,
                "level": flag.level,
                "reason": flag.reason,
                "created": created,
                "mail": due if told else None,
            }
            for flag in verdict.flags
        ],
    )


def listed(
    session: Session, *, unseen: bool, name: str | None, limit: int, before: str | None
) -> list[Alert]:
    """The newest `limit` alerts. unseen: those alone that nobody has seen. name: of this class.
    before: older than the alert with this id."""
    chosen = select(Alert).order_by(Alert.id.desc()).limit(limit)
    if unseen:
        chosen = chosen.where(Alert.seen.is_(None))
    if name is not None:
        chosen = chosen.where(Alert.name == name)
    if before is not None:
        chosen = chosen.where(Alert.id < before)
    return list(session.scalars(chosen))


def see(session: Session, alert_id: str, by: str) -> Alert:
    """Note who looked at an alert, and when; the first who did stays noted. Problem 404."""
    alert = session.scalar(select(Alert).where(Alert.id == alert_id).with_for_update())
    if alert is None:
        raise Problem(404, f"alert {alert_id}: there is none: GET /alerts lists them")
    if alert.seen is None:
        alert.seen, alert.seen_by = now(), by
        audit.record(session, "alert.seen", by=by, subject=alert_id)
    return alert


def mail_due(database: Database, settings: Settings) -> None:
    """Queue a mail with all alerts that wait for one, as soon as the first of them is due."""
    with database.read() as session:
        due = session.scalar(select(Alert.id).where(Alert.mail <= now()).limit(1))
    if due is not None:
        with database.write() as session:
            _digest(session, settings)


def _digest(session: Session, settings: Settings) -> None:
    waiting = session.execute(  # whoever else does this gets none of these rows
        update(Alert)
        .where(Alert.mail.is_not(None))
        .values(mail=None)
        .returning(Alert.prediction_id, Alert.id, Alert.name, Alert.level, Alert.reason)
    )
    found = sorted(waiting.all())
    if not found:
        return
    url = settings.public_url.rstrip("/")
    count = "1 alert" if len(found) == 1 else f"{len(found)} alerts"
    said = [f"{count}: please look at the following again."]
    for prediction_id, of_one in groupby(found[:TOLD], key=lambda row: row.prediction_id):
        said += ["", f"{url}/predictions/{prediction_id}"]
        said += [f"  {word(row.name)} ({row.level}). {row.reason}" for row in of_one]
    if len(found) > TOLD:
        said += ["", f"And {len(found) - TOLD} more: {url}/alerts?unseen=true"]
    names = ", ".join(sorted({word(row.name) for row in found}))
    for to in mail.addresses(settings.alert_mail):
        mail.queue(session, to, f"Retrace: {count}: {names}", "\n".join([*said, "", STATEMENT, ""]))
