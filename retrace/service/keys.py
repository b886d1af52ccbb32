"""API keys: for machines, which act as the account that made them."""

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from retrace.service import audit, tokens
from retrace.service.access import Principal
from retrace.service.problems import Problem
from retrace.service.tables import ApiKey, now

if TYPE_CHECKING:
    from retrace.service.state import Service

MOST = 50  # of one account


def make(service: "Service", who: Principal, name: str, days: float | None) -> tuple[ApiKey, str]:
    """A new key and its text, which is stored nowhere. days: how long it is good, None: always.

    Raises Problem (409) where the account has `MOST` of them.
    """
    text = f"rk_{tokens.opaque()}"
    expires = None if days is None else now() + timedelta(days=days)
    row = ApiKey(user_id=who.user_id, name=name, digest=tokens.digest(text), expires=expires)
    count = select(func.count()).where(ApiKey.user_id == who.user_id)
    with service.database.write() as session:
        if (session.scalar(count) or 0) >= MOST:
            raise Problem(409, f"an account has at most {MOST} keys: delete one first")
        session.add(row)
        session.flush()
        audit.record(session, "key.make", by=who.user_id, subject=row.id)
    return row, text


def mine(service: "Service", who: Principal) -> list[ApiKey]:
    """The keys of an account, oldest first."""
    with service.database.read() as session:
        wanted = select(ApiKey).where(ApiKey.user_id == who.user_id).order_by(ApiKey.id)
        return list(session.scalars(wanted))


def remove(service: "Service", who: Principal, key_id: str) -> None:
    """Delete a key of one's own, or as an admin anybody's. Raises Problem (404) for any other."""
    wanted = delete(ApiKey).where(ApiKey.id == key_id).returning(ApiKey.user_id)
    if who.role != "admin":
        wanted = wanted.where(ApiKey.user_id == who.user_id)
    with service.database.write() as session:
        owner = session.scalar(wanted)
        if owner is None:
            raise Problem(404, "no such key: GET /keys lists yours")
        audit.record(session, "key.delete", by=who.user_id, subject=key_id, owner=owner)
    service.gate.forget()
