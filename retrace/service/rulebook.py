"""The staff's rules as they are kept: read by everybody, changed by staff, with their history."""

import logging
import math
import time
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Lock, Thread

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from retrace.deploy.answers import NORMAL
from retrace.deploy.readers.common import printable
from retrace.errors import InputError
from retrace.service import audit, tables
from retrace.service.database import Database
from retrace.service.problems import AWAY, Problem
from retrace.service.rules import Rule, Rules

EVERY = 1.0  # s between two readings: so late is seen what another process changed
STALE = 5.0  # s; what was not read for so long may have changed since
UNCERTAIN = "*"  # the class of the limit below which an answer is uncertain
LOG = logging.getLogger(__name__)


class Rulebook:
    """The rules in force, at hand without the database: a thread reads them again and again.

    Closed at the end of the service.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading, self._closed = Lock(), Event()
        self._rules, self._read = Rules(), -math.inf
        self.read()
        self._thread = Thread(target=self._run, name="rules", daemon=True)
        self._thread.start()

    def current(self) -> Rules:
        """The rules in force. Problem 503 where they could not be read for seconds: an answer that
        says "not flagged" by an old rule would be wrong, and nobody would see it."""
        if time.monotonic() - self._read > STALE:
            raise Problem(503, AWAY, Retry_After="5")
        return self._rules

    def read(self) -> None:
        """Read the rules now."""
        with self._reading:  # or a reading from before a change would end behind the one after it
            begun = time.monotonic()
            with self._database.read() as session:
                rules = _in_force(session)
            if rules != self._rules:
                self._rules = rules
            self._read = begun

    def set(self, name: str, rule: Rule, by: str) -> tables.Rule:
        """Put a rule in the place of the one in force, which is kept as history.

        name: a class, or `UNCERTAIN` (of whose rule only `probability` counts). by: user id.
        Problem 409 where somebody else set it at the same moment.
        """
        new = tables.Rule(
            kind="uncertain" if name == UNCERTAIN else "flag",
            name=name,
            segment=rule.probability,
            count=rule.count,
            burden=rule.burden,
            run=rule.run,
            user_id=by,
        )
        try:
            with self._database.write() as session:
                old = _ended(session, name)
                session.add(new)
                session.flush()
                _audit(session, "rule.set", name, old, new, by)
        except IntegrityError:
            raise Problem(
                409,
                f"{name}: somebody else set this rule at the same moment: look at GET /rules, then "
                "send yours again if it still holds",
            ) from None
        self._changed()
        return new

    def end(self, name: str, by: str) -> None:
        """Take a rule out of force; Problem 404 where none is."""
        with self._database.write() as session:
            old = _ended(session, name)
            if old is None:
                raise Problem(
                    404, f"{name}: no rule is set for it; GET /rules lists those that are"
                )
            _audit(session, "rule.ended", name, old, None, by)
        self._changed()

    def close(self) -> None:
        """End the thread; one that waits for a database that is gone is not waited for."""
        self._closed.set()
        self._thread.join(3)

    def _changed(self) -> None:
        with self._reading:
            self._read = -math.inf  # whatever happens now, the old rules are no longer applied
        with suppress(SQLAlchemyError):  # the change is made; the thread goes on trying
            self.read()

    def _run(self) -> None:
        failing = False
        while not self._closed.wait(EVERY):
            try:
                self.read()
                failing = False
            except Exception as error:  # of whatever kind: `current` tells by the age of the rules
                if not failing:
                    LOG.warning("rules: cannot be read: %s", type(error).__name__)
                failing = True


def check_class(name: str, classes: Iterable[str]) -> None:
    """Refuse a rule for what is no class of any served model, or is a normal one."""
    known = sorted(found for found in set(classes) if found.lower() not in NORMAL)
    if name in known:
        return
    said = printable(name[:32])
    if name.lower() in NORMAL:
        raise InputError(f"{said}: the normal class is never flagged: set rules for the others")
    raise InputError(
        f"{said}: no served model has this class; rules can be set for {', '.join(known) or 'none'}"
    )


def kept(session: Session, ended: bool) -> list[tables.Rule]:
    """All rules in force, by class; with those that have `ended`, the newest first in each."""
    found = select(tables.Rule).order_by(tables.Rule.name, tables.Rule.id.desc())
    if not ended:
        found = found.where(tables.Rule.ended.is_(None))
    return list(session.scalars(found))


def _in_force(session: Session) -> Rules:
    flags, reject = {}, None
    for row in kept(session, ended=False):
        if row.name == UNCERTAIN:
            reject = row.segment
        else:
            flags[row.name] = Rule(row.segment, row.count, row.burden, row.run)
    return Rules(flags, reject)


def _ended(session: Session, name: str) -> tables.Rule | None:
    """End the rule in force, and return it: that one alone, for by now another may be in force,
    which this user has not seen."""
    in_force = (tables.Rule.name == name) & tables.Rule.ended.is_(None)
    old = session.scalar(select(tables.Rule).where(in_force).with_for_update())
    if old is not None:
        old.ended = tables.now()
        session.flush()
    return old


def _audit(
    session: Session,
    action: str,
    name: str,
    old: tables.Rule | None,
    new: tables.Rule | None,
    by: str,
) -> None:
    values = {
        f"{when}_{key}": getattr(row, column)
        for when, row in (("old", old), ("new", new))
        for key, column in (
            ("probability", "segment"),
            ("count", "count"),
            ("burden", "burden"),
            ("run", "run"),
        )
        if row is not None and getattr(row, column) is not None
    }
    audit.record(session, action, by=by, subject=name, **values)
