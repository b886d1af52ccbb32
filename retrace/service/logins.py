"""Logins: begun with a password, renewed with a refresh token, ended by whoever they belong to."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from retrace.service import audit, emails, passwords, tokens
from retrace.service.access import Principal
from retrace.service.problems import Problem
from retrace.service.tables import Login, User, new_id, now

if TYPE_CHECKING:
    from retrace.service.state import Service

WRONG = "wrong address or password, or the account is not active: try again, or reset the password"
REFRESH = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class Pair:
    """What a login gives: a token that opens routes, and one that gets the next pair."""

    access: str
    refresh: str


def begin(service: "Service", email: str, password: str, address: str) -> Pair:
    """Log in. address: where from, for the audit.

    Raises Problem (401), after the same work and in the same words, for an unknown address, a wrong
    password and an account that is not active; Problem (429) for too many attempts on one account.
    """
    email = emails.spelt(email)
    service.limits.count_account(email)
    with service.database.read() as session:
        user = session.scalar(select(User).where(User.email == email))
    kept = user.password if user else passwords.NOBODY
    right = passwords.verified(kept, password)
    pair = None
    with service.database.write() as session:
        if user and user.active and right and _unchanged(session, user):
            pair = _new(service, session, user.id)
            audit.record(session, "login", by=user.id, address=address)
        else:
            audit.record(
                session, "login.fail", by=None, subject=user.id if user else None, address=address
            )
    if pair is None:
        raise Problem(401, WRONG, WWW_Authenticate="Bearer")
    return pair


def renew(service: "Service", refresh: str) -> Pair:
    """The next pair of a login; the refresh token that was given is worth nothing any more.

    Whoever sends an old one again has it from somebody else, or somebody else has it from them:
    the login ends. Raises Problem (401) for this, and for a login that has ended.
    """
    shape = REFRESH.fullmatch(refresh)
    if not shape:
        raise tokens.refused()
    login_id, secret = shape.groups()
    pair, reused = None, False
    with service.database.write() as session:
        login = session.scalar(
            select(Login)
            .join(User, User.id == Login.user_id)
            .where(Login.id == login_id, ~Login.revoked, Login.expires > now(), User.active)
            .with_for_update(of=Login)
        )
        if login and tokens.same(secret, login.refresh):
            pair = _pair(service, login)
        elif login:
            login.revoked = reused = True
            audit.record(session, "refresh.reuse", by=login.user_id, subject=login.id)
    if reused:
        service.gate.forget()
    if pair is None:
        raise tokens.refused()
    return pair


def end(service: "Service", who: Principal) -> None:
    """End the login by which `who` asks: its tokens are worth nothing from now on."""
    with service.database.write() as session:
        session.execute(update(Login).where(Login.id == who.login_id).values(revoked=True))
        audit.record(session, "logout", by=who.user_id, subject=who.login_id)
    service.gate.forget()


def end_all(session: Session, user_id: str, but: str | None = None) -> None:
    """End all logins of an account, but this one; then `Gate.forget`, behind the commit."""
    mine = update(Login).where(Login.user_id == user_id)
    session.execute((mine.where(Login.id != but) if but else mine).values(revoked=True))


def _unchanged(session: Session, user: User) -> bool:
    """Whether the account is active and its password still the one that was compared."""
    same = select(User.id).where(User.id == user.id, User.active, User.password == user.password)
    return session.scalar(same.with_for_update(read=True)) is not None


def _new(service: "Service", session: Session, user_id: str) -> Pair:
    dead = or_(Login.revoked, Login.expires <= now())
    session.execute(delete(Login).where(Login.user_id == user_id, dead))
    expires = now() + timedelta(days=service.settings.refresh_days)
    login = Login(id=new_id(), user_id=user_id, expires=expires)
    session.add(login)
    return _pair(service, login)


def _pair(service: "Service", login: Login) -> Pair:
    secret = tokens.opaque()
    login.refresh = tokens.digest(secret)
    access = tokens.issue(service.settings, login.user_id, login.id)
    return Pair(access, f"{login.id}.{secret}")
