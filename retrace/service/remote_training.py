"""The gateway's side of a trainer that is a process of its own: TRAINER_URL."""

import time
from logging import getLogger
from typing import Any

import httpx2

from retrace.errors import InputError
from retrace.service import tokens
from retrace.service.problems import Problem
from retrace.service.remote import addresses
from retrace.service.settings import Settings
from retrace.service.training import Asked
from retrace.service.worktree import Progress

LOG = getLogger(__name__)
AUDIENCE = "trainer"
TIMEOUT = httpx2.Timeout(30.0, connect=2.0)  # s; a check reads recipes, a start clones nothing yet
LOOK = 0.5  # s between questions how far it is
OUTAGE = 60.0  # s in which a trainer may be away and come back, with its training
AWAY = "the trainer does not answer at present: send the request again later"


class RemoteTrainer:
    """The trainer at `settings.trainer_url`. Raises InputError where that is no address."""

    def __init__(self, settings: Settings) -> None:
        (self._url,) = addresses("TRAINER_URL", settings.trainer_url)[:1]
        self._settings = settings

    def check(self, asked: Asked) -> None:
        """Raises InputError for a training that the trainer refuses, Problem 503 without it."""
        self._call("POST", "/checks", asked.model_dump())

    def train(self, name: str, asked: Asked, progress: Progress) -> dict[str, Any]:
        """What `worktree.train` returns, done there. name: of the training, an id.

        A worker that takes over finds a training that was started before. Raises InputError where
        it fails, Problem 503 where the trainer stays away or has lost the training.
        """
        if self._state(name) is None:
            self._call("POST", "/jobs", asked.model_dump() | {"id": name})
        while True:
            state = self._state(name, OUTAGE)
            if state is None or state["state"] == "cancelled":
                raise Problem(
                    503, "training: the trainer ended while it ran: ask for it again later"
                )
            if state["state"] == "failed":
                raise InputError(state["error"])
            if state["state"] == "done":
                result: dict[str, Any] = state["result"]
                return result
            progress(state["progress"])
            time.sleep(LOOK)

    def cancel(self, name: str) -> None:
        """End a training there; one that is unknown has ended."""
        self._call("DELETE", f"/jobs/{name}", None, missing=True)

    def _state(self, name: str, outage: float = 0.0) -> dict[str, Any] | None:
        """How far it is, None where the trainer knows it not; an outage of so many s is waited
        out."""
        deadline = time.monotonic() + outage
        while True:
            try:
                return self._call("GET", f"/jobs/{name}", None, missing=True)
            except Problem:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LOOK)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, *, missing: bool = False
    ) -> dict[str, Any] | None:
        """The answer to a request; None for 404 where it may be missing."""
        token = tokens.internal(self._settings, AUDIENCE)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with httpx2.Client(timeout=TIMEOUT, trust_env=False) as client:
                response = client.request(method, self._url + path, json=body, headers=headers)
            said = response.json() if response.content else {}
        except (httpx2.HTTPError, ValueError) as error:
            LOG.warning("trainer, %s: %s", path, type(error).__name__)
            raise Problem(503, AWAY, Retry_After="5") from None
        if response.status_code == 404 and missing:
            return None
        if response.is_success and isinstance(said, dict):
            return said
        if response.status_code == 422:
            raise InputError(str(said["detail"]))
        LOG.warning("trainer, %s: status %d", path, response.status_code)
        raise Problem(503, AWAY, Retry_After="5")
