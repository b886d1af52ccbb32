"""What all routes share, made at the start and closed at the end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from retrace.service import (
    alerts,
    health,
    mail,
    published,
    registry_files,
    registry_rows,
    retention,
    supervisor,
)
from retrace.service.access import Gate
from retrace.service.database import Database
from retrace.service.follower import Follower
from retrace.service.home import bind
from retrace.service.observed import Metrics
from retrace.service.pool import Models
from retrace.service.ratelimit import Limits
from retrace.service.rulebook import Rulebook
from retrace.service.settings import Settings
from retrace.service.slots import Slots
from retrace.service.writer import Writer


@dataclass
class Service:
    """The parts of a running service."""

    settings: Settings
    database: Database
    gate: Gate
    limits: Limits
    models: Models
    writer: Writer
    rules: Rulebook
    slots: Slots
    follower: Follower
    metrics: Metrics = field(default_factory=Metrics)
    ready: health.Look[dict[str, str]] = field(default_factory=lambda: health.Look(health.states))
    waiting: health.Look[tuple[dict[str, int], int]] = field(
        default_factory=lambda: health.Look(health.waiting)
    )


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """Start the parts that a server and a worker both need, then stop them in reverse order."""
    database = Database(settings.database)
    database.prepare()
    bind(settings.home, database)
    registry_files.sweep(settings, database)
    with database.read() as session:
        models = Models(settings, [row.model for row in registry_rows.in_production(session)])
    published.register(database, settings, models)
    follower = Follower(database, settings, models)
    writer = Writer(database)
    rules = Rulebook(database)
    try:
        yield Service(
            settings,
            database,
            Gate(settings, database),
            Limits(settings),
            models,
            writer,
            rules,
            Slots(settings),
            follower,
        )
    finally:
        rules.close()
        writer.close()
        follower.close()
        database.close()


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """The parts of a server: those of `opened`, and what only a server has."""
    with opened(settings) as service, retention.kept(service), supervisor.kept(settings):
        app.state.service = service
        service.metrics.follow(service.models)
        database = service.database
        with mail.sending(settings, database, lambda: alerts.mail_due(database, settings)):
            yield


async def service(request: Request) -> Service:
    """The service of the application. (A coroutine: FastAPI calls it without a thread.)"""
    found: Service = request.app.state.service
    return found


Running = Annotated[Service, Depends(service)]
