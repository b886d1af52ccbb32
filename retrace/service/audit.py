"""The audit log: who did what to what, and when; without signals and secrets."""

from sqlalchemy.orm import Session

from retrace.service.tables import Audit


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
