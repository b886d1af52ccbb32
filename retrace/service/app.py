"""The application: routes, errors and what is around them."""

from fastapi import FastAPI, Request, Response

from retrace.service import body, observed, pages, problems
from retrace.service.express import Express
from retrace.service.routes import (
    alerts,
    audit,
    auth,
    feedback,
    health,
    jobs,
    keys,
    logs,
    models,
    monitoring,
    predict,
    predictions,
    recordings,
    registry,
    rules,
    trainings,
    users,
)
from retrace.service.settings import Settings
from retrace.service.state import running

ABOUT = (
    "ECG classification that anyone can reproduce. It supports decisions; it makes no diagnosis."
)
# Predictions first: routers are asked in order, and the others can wait.
ROUTES = (
    predict,
    auth,
    users,
    keys,
    audit,
    health,
    jobs,
    models,
    predictions,
    recordings,
    rules,
    alerts,
    feedback,
    trainings,
    registry,
    monitoring,
    logs,
)


def create_app(settings: Settings) -> FastAPI:
    """The service as one ASGI application; it starts and stops with its lifespan."""
    app = FastAPI(
        title="Retrace",
        description=ABOUT,
        lifespan=lambda app: running(app, settings),
        docs_url=None,  # its page would come from a CDN
        redoc_url=None,
        telemetry=problems.SILENT,
    )
    problems.install(app)
    app.add_exception_handler(Exception, _fault)
    for one in ROUTES:
        app.include_router(one.router)
    pages.install(app)
    handlers = {kind: one for kind, one in app.exception_handlers.items() if kind is not Exception}
    app.add_middleware(
        Express, route=predict.BEATS, endpoint=predict.beats_at_once, handlers=handlers
    )
    app.add_middleware(body.BodyLimits, settings=settings)
    # The last is the outermost: it sees what the others refuse.
    app.add_middleware(observed.Observed, log=settings.log_requests)
    return app


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of ours; the log has the place. No middleware sees this answer any more."""
    said = problems.answer(500, "the service failed at this; nothing was stored: tell its admin")
    said.raw_headers = observed.guarded(said.raw_headers)
    return said
