"""The audit log: who did what to what, and when; without signals and secrets."""

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.service.tables import Audit

if TYPE_CHECKING:
    from retrace.service.state import Service


def record(
    session: Session,
    action: str,
    *,
    by: str | None,
    subject: str | None = None,
    **detail: str | int | float | bool | None,
) -> None:
    """Write one line, in the transaction of what it tells. by: user id, None: nobody who is known.

    detail: short values; never a signal, a password, a token, or a comment of a recording.
    """
    session.add(Audit(user_id=by, action=action, subject=subject, detail=detail))


def page(
    service: "Service", limit: int, before: str | None, user: str | None, action: str | None
) -> list[Audit]:
    """Lines, newest first, from before the id `before`; by `user` or about it, of one `action`."""
    wanted = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if before:
        wanted = wanted.where(Audit.id < before)
    if user:
        wanted = wanted.where((Audit.user_id == user) | (Audit.subject == user))
    if action:
        wanted = wanted.where(Audit.action == action)
    with service.database.read() as session:
        return list(session.scalars(wanted))
