"""The trainer: a process that runs the trainings of a gateway, one at a time.

It has no database: what runs is lost when it ends, and the gateway asks for it again.
"""

import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from logging import getLogger
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request
from pydantic import Field

from retrace.errors import InputError
from retrace.service import body, problems, tokens, worktree
from retrace.service.problems import Problem, errors
from retrace.service.remote_training import AUDIENCE
from retrace.service.settings import Settings
from retrace.service.tables import ID
from retrace.service.training import Asked, checked

LOG = getLogger(__name__)
MOST, KEPT = 20, 100  # trainings that wait, and such as have ended and are still known
ABOUT = "Trainings for the gateway alone: it signs each request with the secret of the service."

Id = Annotated[str, Path(pattern=ID, description="as the gateway named it")]


class Ordered(Asked):
    """A training that the gateway names, as its job."""

    id: str = Field(pattern=ID)


@dataclass
class State:
    """How far a training is. state: queued, running, done, failed, cancelled."""

    state: str = "queued"
    progress: float = 0.0
    result: dict[str, Any] | None = None
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in ("queued", "running")


class _Cancelled(Exception):
    """The training is no longer wanted."""


class Trainer:
    """A queue, and the thread that works on it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._states: dict[str, State] = {}
        self._queue: deque[tuple[str, Asked]] = deque()
        self._change = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="trainer")

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End the training that runs, and forget those that wait."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        self._thread.join()

    def order(self, asked: Ordered) -> State:
        """Queue a training; one that is known already is left as it is."""
        with self._change:
            if found := self._states.get(asked.id):
                return found
            if len(self._queue) >= MOST:
                raise Problem(503, f"{MOST} trainings wait already", Retry_After="600")
            for name in [name for name, one in self._states.items() if one.over][:-KEPT]:
                del self._states[name]
            state = self._states[asked.id] = State()
            self._queue.append((asked.id, asked))
            self._change.notify_all()
            return state

    def state(self, name: str) -> State:
        """How far it is; Problem 404 for one that is not known, or no longer."""
        if name not in self._states:
            raise Problem(404, f"training {name}: not known; a trainer forgets when it ends")
        return self._states[name]

    def cancel(self, name: str) -> None:
        """End a training that waits or runs."""
        with self._change:
            if not (state := self.state(name)).over:
                state.state = "cancelled"

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._stopped or self._queue)
                if self._stopped:
                    return
                name, asked = self._queue.popleft()
                state = self._states[name]
                if state.over:
                    continue
                state.state = "running"
            self._train(name, asked, state)

    def _train(self, name: str, asked: Asked, state: State) -> None:
        def progress(share: float) -> None:
            if self._stopped or state.over:
                raise _Cancelled
            state.progress = share

        try:
            text = checked(self._settings, asked)
            result = worktree.train(self._settings, name, text, progress)
            self._over(state, State("done", 1.0, result))
        except _Cancelled:
            self._over(state, State("cancelled", state.progress))
        except (InputError, Problem) as error:
            self._over(state, State("failed", state.progress, error=str(error)))
        except Exception:
            LOG.exception("training %s", name)
            why = "training: the fault is the service's: ask its admin"
            self._over(state, State("failed", state.progress, error=why))

    def _over(self, state: State, last: State) -> None:
        """Note how it ended, unless it was cancelled meanwhile."""
        with self._change:
            if not state.over:
                vars(state).update(vars(last))


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
    app.add_middleware(body.BodyLimits, settings=settings)
    for_gateway: dict[str, Any] = {"dependencies": [Depends(gateway)]}

    @app.get("/health", summary="Whether it runs")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/checks", responses=errors(401, 422, 503), **for_gateway)
    def check(asked: Asked) -> dict[str, bool]:
        checked(settings, asked)
        return {"trainable": True}

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

    return app
