"""Whether the service can do its work, part by part."""

import shutil
from collections.abc import Callable
from datetime import timedelta

import httpx2
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from retrace.service.state import Service
from retrace.service.tables import Job, Mail, now

LOW = 512 << 20  # bytes; below this an upload may not find room
LATE = timedelta(minutes=15)  # a mail or a job that waits longer says that nobody takes it


def states(service: Service) -> dict[str, str]:
    """What is wrong with each part, "ok" where nothing is."""
    parts: dict[str, Callable[[Service], str]] = {
        "database": _database,
        "models": _models,
        "jobs": _jobs,
        "mail": _mail,
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
        try:
            httpx2.get(f"{url}/v2/health/ready", timeout=2).raise_for_status()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"the predictor is not ready ({type(error).__name__}): see PREDICTOR_URL"
    if not models:
        return "no model is published here: run dvc pull, then start the service again"
    if not usable:
        return f"none of {len(models)} can answer: see GET /models"
    return "ok" if len(usable) == len(models) else f"ok: {len(usable)} of {len(models)} can answer"


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
    return f"{late} cannot be sent: see app.log" if late else "ok"


def _disk(service: Service) -> str:
    free = shutil.disk_usage(service.settings.home).free
    if free < LOW:
        return f"{free >> 20} MB are free; {LOW >> 20} are needed: free some space"
    return "ok"
