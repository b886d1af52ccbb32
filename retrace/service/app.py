"""The application: routes, errors and what is around them."""

from fastapi import FastAPI

from retrace.service import problems
from retrace.service.settings import Settings
from retrace.service.state import running

ABOUT = (
    "ECG classification that anyone can reproduce. It supports decisions; it makes no diagnosis."
)


def create_app(settings: Settings) -> FastAPI:
    """The service as one ASGI application; it starts and stops with its lifespan."""
    app = FastAPI(
        title="Retrace",
        description=ABOUT,
        lifespan=lambda app: running(app, settings),
        docs_url=None,  # its page would come from a CDN
        redoc_url=None,
    )
    problems.install(app)
    return app
