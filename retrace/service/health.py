"""Whether the service can do its work, part by part."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

import httpx2
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from retrace.errors import InputError
from retrace.service.tables import Job, Mail, now

if TYPE_CHECKING:
    from retrace.service.state import Service

Found = TypeVar("Found")
KEPT = 2.0  # s that what was found is told again, for anybody may ask
LOW = 512 << 20  # bytes; below this an upload may not find room
LATE = timedelta(minutes=15)  # a mail or a job that waits longer says that nobody takes it


class Look(Generic[Found]):
    """A look at the service, for anybody who asks: one at a time, and the next `KEPT` s later.

    It belongs to the event loop: who waits for the look of another holds no thread.
    """

    def __init__(self, look: Callable[[Service], Found]) -> None:
        self._look = look
        self._task: asyncio.Task[Found] | None = None
        self._begun = 0.0

    async def found(self, service: Service) -> Found:
        """What it found, or raised, now or a moment ago."""
        task = self._task
        if task is None or (task.done() and time.monotonic() - self._begun >= KEPT):
            self._begun = time.monotonic()
            task = self._task = asyncio.create_task(run_in_threadpool(self._look, service))
        return await asyncio.shield(task)  # who goes does not end it for the others


def states(service: Service) -> dict[str, str]:
    """What is wrong with each part; it begins with "ok" where predictions go on all the same."""
    parts: dict[str, Callable[[Service], str]] = {
        "database": _database,
        "models": _models,
        "jobs": _jobs,
        "mail": _mail,
        "trainer": _trainer,
        "disk": _disk,
    }
    said = {}
    for name, look in parts.items():
        try:
            said[name] = look(service)
        except SQLAlchemyError:
            said[name] = "the database does not answer"
        except OSError as error:
            said[name] = f"{error.strerror}"
    return said


def waiting(service: Service) -> tuple[dict[str, int], int]:
    """How many jobs there are in each state, and how many mails wait."""
    with service.database.read() as session:
        jobs = session.execute(select(Job.state, func.count()).group_by(Job.state)).all()
        mails = session.scalar(select(func.count()).where(Mail.due.is_not(None)))
    return {row[0]: row[1] for row in jobs}, mails or 0


def _database(service: Service) -> str:
    with service.database.read() as session:
        session.execute(select(1))
    return "ok"


def _models(service: Service) -> str:
    models = list(service.models)
    usable = [model for model in models if model.predictor]
    if url := service.settings.predictor_url:
        from retrace.service.remote import addresses

        try:
            found = addresses("PREDICTOR_URL", url)
            why = [_silent(f"{one}/v2/health/ready") for one in found]
        except InputError as error:
            return str(error)
        if all(why):
            return f"the predictor is not ready ({', '.join(why)}): see PREDICTOR_URL"
    if not models:
        return "no model is published here: run dvc pull, then start the service again"
    if not usable:
        return f"none of {len(models)} can answer: see GET /models"
    said = []
    if len(usable) < len(models):
        default = service.models.listed(None)
        without = "" if default.predictor else f", but not the default, {default.name}"
        said.append(f"{len(usable)} of {len(models)} can answer{without}: see GET /models")
    if suspended := sorted(service.models.suspended):  # that takes no server out of service
        said.append(f"suspended: {', '.join(suspended)}: see GET /registry")
    return f"ok: {'; '.join(said)}" if said else "ok"


def _trainer(service: Service) -> str:
    url = service.settings.trainer_url.rstrip("/")
    if url and (why := _silent(f"{url}/health")):
        return f"ok: predictions go on, but the trainer is away ({why}): see TRAINER_URL"
    return "ok"


def _silent(url: str) -> str:
    """Why the process there does not answer that it is ready, "" where it does."""
    try:
        httpx2.get(url, timeout=2, trust_env=False).raise_for_status()
    except httpx2.HTTPError as error:
        return type(error).__name__
    return ""


def _jobs(service: Service) -> str:
    with service.database.read() as session:
        overdue = session.scalar(
            select(func.count()).where(Job.state == "queued", Job.created < now() - LATE)
        )
        working = session.scalar(select(func.count()).where(Job.lease > now()))
    if overdue and not working:
        return f"{overdue} wait and no worker takes them: see worker.log"
    return "ok"


def _mail(service: Service) -> str:
    with service.database.read() as session:
        late = session.scalar(
            select(func.count()).where(Mail.due.is_not(None), Mail.created < now() - LATE)
        )
        lost = session.scalar(select(func.count()).where(Mail.due.is_(None), Mail.sent.is_(None)))
        refused = session.scalar(
            select(func.count()).where(Mail.due.is_not(None), Mail.error.is_not(None))
        )
    if late:
        return f"{late} cannot be sent: see app.log"
    if lost:
        return f"ok: {lost} could not be sent and were given up: see app.log"
    return f"ok: {refused} wait for a mail server that did not take them" if refused else "ok"


def _disk(service: Service) -> str:
    free = shutil.disk_usage(service.settings.home).free
    if free < LOW:
        return f"{free >> 20} MB are free; {LOW >> 20} are needed: free some space"
    return "ok"
