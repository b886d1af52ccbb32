"""What all routes share, made at the start and closed at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from retrace.service.database import Database
from retrace.service.settings import Settings


@dataclass
class Service:
    """The parts of a running service."""

    settings: Settings
    database: Database


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Start the parts, then stop them in the reverse order."""
    database = Database(settings.database)
    database.prepare()
    app.state.service = Service(settings, database)
    try:
        yield
    finally:
        database.close()


async def service(request: Request) -> Service:
    """The service of the application. (A coroutine: FastAPI calls it without a thread.)"""
    found: Service = request.app.state.service
    return found


Running = Annotated[Service, Depends(service)]
