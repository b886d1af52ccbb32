"""Accounts: made, listed, changed and deleted."""

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from retrace.service import audit, emails, logins, mail, passwords, recordings
from retrace.service.access import Principal
from retrace.service.problems import Problem
from retrace.service.tables import Recording, User

if TYPE_CHECKING:
    from retrace.service.state import Service

UNKNOWN = "no such account: GET /users lists those there are"


def create(session: Session, email: str, password: str, role: str | None = None) -> User:
    """Write a new account. Raises InputError for a bad address or password, Problem (409) for an
    address that has an account."""
    user = new(email, password, role)
    add(session, user)
    return user


def new(email: str, password: str, role: str | None = None) -> User:
    """An account, not written yet: no transaction should wait for its password's 0.1 s."""
    email = emails.normalised(email)
    passwords.check(password, email)
    return User(email=email, password=passwords.hashed(password), role=role)


def add(session: Session, user: User) -> None:
    """Write an account that `new` made. Raises Problem (409) for an address that has one."""
    session.add(user)
    try:
        session.flush()
    except IntegrityError:
        raise Problem(409, "this address has an account: log in, or reset its password") from None


def register(service: "Service", email: str, password: str, address: str) -> User:
    """Write an account that can do nothing until an admin gives it a role."""
    user = new(email, password)
    with service.database.write() as session:
        add(session, user)
        audit.record(session, "account.register", by=user.id, address=address)
    return user


def find(service: "Service", user_id: str) -> User:
    """An account. Raises Problem (404) where there is none."""
    with service.database.read() as session:
        return _found(session.get(User, user_id))


def page(service: "Service", limit: int, after: str | None) -> list[User]:
    """Accounts, oldest first, from behind the id `after`."""
    wanted = select(User).order_by(User.id).limit(limit)
    with service.database.read() as session:
        return list(session.scalars(wanted.where(User.id > after) if after else wanted))


def change(
    service: "Service", who: Principal, user_id: str, changes: Mapping[str, str | bool | None]
) -> User:
    """Set `role` and `active` of an account; who is switched off is logged out.

    Raises Problem: 404 for no account, 409 where no active admin would be left.
    """
    with service.database.write() as session:
        admins = _admins(session)
        user = _found(session.get(User, user_id, with_for_update=True))
        for name, value in changes.items():
            setattr(user, name, value)
        if user.role != "admin" or not user.active:
            _keep_one(admins - {user.id})
        if not user.active:
            logins.end_all(session, user.id)
        said = {f"new_{name}": value for name, value in changes.items()}
        audit.record(session, "account.change", by=who.user_id, subject=user.id, **said)
    service.gate.forget()
    return user


def change_password(service: "Service", who: Principal, present: str, wanted: str) -> None:
    """Set a new password, and end all other logins of the account.

    Raises InputError for a bad one, Problem (403) where the present one is wrong, and (429) for
    too many attempts.
    """
    service.limits.count("login", "password", who.user_id)
    passwords.check(wanted, who.email)
    before = find(service, who.user_id).password
    if not passwords.verified(before, present):
        with service.database.write() as session:
            audit.record(session, "password.fail", by=who.user_id)
        raise Problem(403, "the present password is another one: try again, or reset it")
    kept = passwords.hashed(wanted)
    with service.database.write() as session:
        user = _found(session.get(User, who.user_id, with_for_update=True))
        if user.password != before:
            raise Problem(409, "the password was changed meanwhile: log in again")
        user.password = kept
        logins.end_all(session, user.id, but=who.login_id)
        audit.record(session, "password.change", by=who.user_id)
    service.gate.forget()


def remove(service: "Service", who: Principal, user_id: str) -> None:
    """Delete an account, and all that it uploaded, asked and was answered. The audit stays.

    Raises Problem: 404 for no account, 409 for the last active admin.
    """
    with service.database.write() as session:
        admins = _admins(session)
        user = _found(session.get(User, user_id, with_for_update=True))
        if user.id in admins:
            _keep_one(admins - {user.id})
        theirs = list(session.scalars(select(Recording.id).where(Recording.user_id == user.id)))
        mail.forget(session, user.email)
        session.delete(user)
        many = len(theirs)
        audit.record(session, "account.delete", by=who.user_id, subject=user_id, recordings=many)
    service.gate.forget()
    for recording_id in theirs:
        shutil.rmtree(service.settings.home / recordings.KEPT / recording_id, ignore_errors=True)


def _found(user: User | None) -> User:
    if user is None:
        raise Problem(404, UNKNOWN)
    return user


def _admins(session: Session) -> set[str]:
    """The active admins, who stay such until the transaction ends."""
    active = select(User.id).where(User.role == "admin", User.active).order_by(User.id)
    return set(session.scalars(active.with_for_update()))


def _keep_one(admins: set[str]) -> None:
    if not admins:
        raise Problem(409, "no active admin would be left: give the role to somebody else first")
