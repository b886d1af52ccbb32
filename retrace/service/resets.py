"""Forgotten passwords: a token by mail, good for one new password within an hour."""

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from retrace.errors import InputError
from retrace.service import audit, emails, logins, mail, passwords, tokens
from retrace.service.tables import ApiKey, Reset, User, now

if TYPE_CHECKING:
    from retrace.service.state import Service

MINUTES = 60
BODY = """Somebody, probably you, asked for a new password for this address.

Send this token with the new password to {url}/auth/reset within an hour:

{token}

It works once. If it was not you, nothing has changed, and nothing needs to be done.
"""


def ask(service: "Service", email: str, address: str) -> None:
    """Mail a token to the account of this address; where there is none, do as if.

    Where it is asked too often for one account, nothing is mailed, and nobody is told.
    """
    email = emails.spelt(email)
    if not service.limits.mails(email):
        return
    token = tokens.opaque()
    with service.database.write() as session:
        user = session.scalar(select(User).where(User.email == email, User.active))
        user_id = user.id if user else None
        session.execute(delete(Reset).where(Reset.user_id == user_id))
        audit.record(session, "reset.ask", by=None, subject=user_id, address=address)
        if user:
            expires = now() + timedelta(minutes=MINUTES)
            session.add(Reset(user_id=user.id, token=tokens.digest(token), expires=expires))
            body = BODY.format(url=service.settings.public_url, token=token)
            mail.queue(session, user.email, "Retrace: a new password", body)


def use(service: "Service", token: str, password: str, address: str) -> None:
    """Set a new password with a mailed token; all logins and API keys of the account end, since
    somebody else may have had it.

    Raises InputError for a token that is unknown, used or expired, and for a bad password (then
    the token stays good).
    """
    wanted = select(Reset, User).join(User, User.id == Reset.user_id)
    wanted = wanted.where(Reset.token == tokens.digest(token), Reset.expires > now(), User.active)
    unknown = InputError(
        "token: unknown, used, or older than an hour: ask for another one at /auth/forgot"
    )
    with service.database.read() as session:
        found = session.execute(wanted).one_or_none()
    if found is None:
        raise unknown
    passwords.check(password, found.User.email)
    kept = passwords.hashed(password)
    with service.database.write() as session:
        again = session.execute(wanted.with_for_update()).one_or_none()
        if again is None:
            raise unknown
        again.User.password = kept
        session.delete(again.Reset)
        logins.end_all(session, again.User.id)
        audit.record(session, "reset.use", by=again.User.id, address=address)
        theirs = delete(ApiKey).where(ApiKey.user_id == again.User.id).returning(ApiKey.id)
        for key_id in session.scalars(theirs):
            audit.record(session, "key.delete", by=again.User.id, subject=key_id)
    service.gate.forget()
