"""The trainer: a process that runs the trainings of a gateway, one at a time.

It has no database: what runs is lost when it ends, and the gateway asks for it again. Own
recordings come before a training is ordered, and what came of it is fetched when it is done; both
go then. All of it lies in HOME/trainer: a gateway on the same machine may have the same HOME.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi import Path as Named
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from retrace.files import new_file
from retrace.service import body, problems, tokens
from retrace.service.problems import errors
from retrace.service.remote_training import AUDIENCE
from retrace.service.settings import Settings
from retrace.service.tables import ID
from retrace.service.trainer_queue import Ordered, Trainer
from retrace.service.training import Asked, checked, form

ABOUT = "Trainings for the gateway alone: it signs each request with the secret of the service."

Id = Annotated[str, Named(pattern=ID, description="as the gateway named it")]


class _Limits(body.BodyLimits):
    """Those of every body, but for the files of own recordings, which are as large as uploads."""

    def _limit(self, path: str) -> int:
        file = path.startswith("/jobs/") and "/files/" in path
        return self.settings.largest_upload if file else super()._limit(path)


def create_trainer(settings: Settings) -> FastAPI:
    """The trainer as one ASGI application; it answers the gateway alone."""
    trainer = Trainer(settings)

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        trainer.start()
        try:
            yield
        finally:
            trainer.stop()

    def gateway(request: Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        tokens.check_internal(settings, AUDIENCE, token if kind == "Bearer" else "")

    app = FastAPI(
        title="Retrace trainer",
        description=ABOUT,
        lifespan=working,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=problems.SILENT,
    )
    problems.install(app)
    app.add_middleware(_Limits, settings=settings)
    for_gateway: dict[str, Any] = {"dependencies": [Depends(gateway)]}

    @app.get("/health", summary="Whether it runs")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/checks", responses=errors(401, 422, 503), **for_gateway)
    def check(asked: Asked) -> dict[str, Any]:
        return asdict(form(checked(settings, asked)))

    @app.post("/jobs", status_code=202, responses=errors(401, 422, 503), **for_gateway)
    def order(asked: Ordered) -> dict[str, Any]:
        return asdict(trainer.order(asked))

    @app.get("/jobs/{id}", responses=errors(401, 404, 422), **for_gateway)
    def state(id: Id) -> dict[str, Any]:
        return asdict(trainer.state(id))

    @app.delete("/jobs/{id}", responses=errors(401, 404, 422), **for_gateway)
    def cancel(id: Id) -> dict[str, Any]:
        trainer.cancel(id)
        return asdict(trainer.state(id))

    @app.put("/jobs/{id}/files/{file}", status_code=204, **for_gateway)
    async def file_came(id: Id, file: str, request: Request) -> None:
        path = await run_in_threadpool(trainer.place, id, file)
        with new_file(path) as part, part.open("wb") as stream:
            async for piece in request.stream():
                await run_in_threadpool(stream.write, piece)

    @app.get("/jobs/{id}/files/{file}", **for_gateway)
    def file_made(id: Id, file: str) -> FileResponse:
        return FileResponse(trainer.made(id, file))

    return app
