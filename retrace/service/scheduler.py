"""What the service does of its own accord: evaluations, looks for drift, trainings.

All that is due follows from rows, so a worker that starts anew, and one beside another, does
nothing twice and forgets nothing.
"""

import logging
import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Event

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from retrace.service import jobs, monitor, registry, tables, trainings, triggers, watches
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Job

EVERY = 10.0  # s
SWEEP = 3600.0  # s
AGAIN = 1.0  # h before what has failed is tried again
LOG = logging.getLogger(__name__)
_told: dict[str, str] = {}  # of each model, why it is not monitored


def tick(service: Service, now: datetime) -> list[str]:
    """Queue what is due; the ids of the jobs.

    What fails with one model holds up no other. Raises SQLAlchemyError where the database does.
    """
    with service.database.read() as session:
        watched = watches.all_current(session)
    found: list[Job | None] = []
    for model, settings in watched.items():
        try:
            found += [_queued(service, model, settings, plan, now) for plan in plans(settings)]
            monitor.follow(service, model)
            triggers.follow(service, model)
            found.append(triggers.fire(service, model, settings))
            _told.pop(model, None)
        except SQLAlchemyError:
            raise
        except Problem as problem:  # as where nobody can train at present
            if not _said(model, problem.detail):
                LOG.warning("model %s: not monitored at present: %s", model, problem.detail)
        except Exception as error:
            if not _said(model, type(error).__name__):
                LOG.exception("model %s: not monitored", model)
    return [job.id for job in found if job]


def run(service: Service, stop: Event) -> None:
    """Tick until told to stop; while the database is away, nothing is due. What killed trainings
    have left is removed now and then: it may hold recordings of a person who is deleted."""
    failing = False
    pause, swept = 0.0, -math.inf
    while not stop.wait(pause):
        pause = EVERY
        if time.monotonic() - swept > SWEEP:
            swept = time.monotonic()
            try:
                trainings.sweep(service)
            except Exception as error:  # what cannot be removed holds nothing else up
                LOG.warning("trainings are not swept: %s", type(error).__name__)
        try:
            tick(service, tables.now())
            failing = False
        except Exception as error:  # of whatever kind: what is due stays due
            if not failing:
                LOG.warning("nothing is scheduled: %s", type(error).__name__)
            failing = True


def plans(settings: watches.Settings) -> Iterator[tuple[str, float, int]]:
    """What is done again and again: kind of job, hours between two, how much of the newest."""
    if settings.every_hours is not None:
        yield monitor.EVALUATION, settings.every_hours, settings.newest
    if settings.drift is not None:
        yield monitor.DRIFT, settings.drift.every_hours, settings.drift.newest


def _queued(
    service: Service,
    model: str,
    settings: watches.Settings,
    plan: tuple[str, float, int],
    now: datetime,
) -> Job | None:
    """Queue one plan where it is due."""
    kind, _, newest = plan
    with (
        service.database.read() as session
    ):  # most of the time nothing is due, and nothing is locked
        if _waits(session, model, plan, now):
            return None
    with service.database.write() as session:
        registry.alone(session, model)
        if watches.current(session, model) != settings:
            return None
        if _waits(session, model, plan, now):  # by another worker
            return None
        return monitor.submit(session, None, kind, model, newest, "scheduled")


def _waits(session: Session, model: str, plan: tuple[str, float, int], now: datetime) -> bool:
    """Whether the service's last one of a plan is open, or was done not long ago; one that came to
    nothing is due again sooner. What somebody else asked for does not count."""
    kind, hours, newest = plan
    last = monitor.last_job(session, kind, model, newest)
    if last is None or last.state in jobs.OPEN:
        return last is not None
    if last.state == "done":
        return last.created > now - timedelta(hours=hours)
    ended = last.finished or last.created
    return ended > now - timedelta(hours=min(hours, AGAIN))


def _said(model: str, why: str) -> bool:
    """Whether this was in the log before; every 10 s it would fill it."""
    known, _told[model] = _told.get(model), why
    return known == why
