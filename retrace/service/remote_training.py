"""The gateway's side of a trainer that is a process of its own: TRAINER_URL."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import getLogger
from pathlib import Path
from typing import Any

import httpx2

from retrace.errors import InputError
from retrace.files import new_folder, write_json
from retrace.service import results, tokens
from retrace.service.problems import Problem
from retrace.service.remote import addresses
from retrace.service.settings import Settings
from retrace.service.training import Asked
from retrace.service.training_data import Form
from retrace.service.worktree import Progress

LOG = getLogger(__name__)
AUDIENCE = "trainer"
TIMEOUT = httpx2.Timeout(30.0, connect=2.0)  # s; a check reads recipes, a start clones nothing yet
LOOK = 0.5  # s between questions how far it is
OUTAGE = 60.0  # s in which a trainer may be away and come back, with its training
LARGEST = 8 << 30  # bytes of a file that comes back: a model and the parts of its run
AWAY = "the trainer does not answer at present: send the request again later"


class RemoteTrainer:
    """The trainer at `settings.trainer_url`. Raises InputError where that is no address."""

    def __init__(self, settings: Settings) -> None:
        (self._url,) = addresses("TRAINER_URL", settings.trainer_url)[:1]
        self._settings = settings

    def check(self, asked: Asked) -> Form:
        """How the data of a training are read. Raises InputError for one that the trainer refuses,
        Problem 503 without it."""
        found = self._call("POST", "/checks", asked.model_dump()) or {}
        return Form(found["leads"], found["labels"])

    def knows(self, name: str) -> bool:
        """Whether a training of this name, an id, was ordered there: by a worker that has ended."""
        return self._state(name) is not None

    def order(self, name: str, asked: Asked, own: Path | None, progress: Progress) -> None:
        """Have a training queued there. own: a folder of own recordings, which it gets before.

        Where that ends early, the recordings do not stay there.
        """
        try:
            for path in sorted(own.iterdir()) if own else ():
                progress(0.0)
                self._send(f"/jobs/{name}/files/{path.name}", path)
            self._call("POST", "/jobs", asked.model_dump() | {"id": name})
        except BaseException:
            with suppress(Problem):  # where it is away they go later, see `trainer_queue.UNORDERED`
                if not self.knows(name):
                    self.cancel(name)
            raise

    def follow(self, name: str, out: Path, progress: Progress) -> dict[str, Any]:
        """What `worktree.train` returns, done there; its files come into the folder `out`.

        Raises InputError where it fails, Problem 503 where the trainer stays away or has lost the
        training.
        """
        if (found := results.read(out)) is not None:
            return found
        while True:
            state = self._state(name, OUTAGE)
            if state is None or state["state"] == "cancelled":
                raise Problem(
                    503, "training: the trainer ended while it ran: ask for it again later"
                )
            if state["state"] == "failed":
                raise InputError(state["error"])
            if state["state"] == "done":
                break
            progress(state["progress"])
            time.sleep(LOOK)
        result: dict[str, Any] = state["result"]
        with new_folder(out) as folder:
            for file, digest in result.pop("files").items():
                if file not in results.FILES:
                    raise InputError(f"trainer: {file[:40]!r} is no file of a training: update it")
                self._fetch(f"/jobs/{name}/files/{file}", folder / file, digest, progress)
            write_json(folder / results.RESULT, result)
        self.cancel(name)  # it is over: its files go
        return result

    def cancel(self, name: str) -> None:
        """End a training there, and let its files go; one that is unknown has ended."""
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
        with self._reached(path) as client:
            response = client.request(method, self._url + path, json=body)
            said = response.json() if response.content else {}
        if response.status_code == 404 and missing:
            return None
        if response.is_success and isinstance(said, dict):
            return said
        raise _refused(path, response, said)

    def _send(self, path: str, file: Path) -> None:
        with self._reached(path) as client, file.open("rb") as stream:
            response = client.put(self._url + path, content=stream)
            said = response.json() if response.content else {}
        if not response.is_success:
            raise _refused(path, response, said)

    def _fetch(self, path: str, file: Path, sha256: str, progress: Progress) -> None:
        """Write a file that the trainer has; its hash is checked."""
        digest, size = hashlib.sha256(), 0
        with (
            self._reached(path) as client,
            client.stream("GET", self._url + path) as response,
            file.open("wb") as stream,
        ):
            for piece in response.iter_bytes(1 << 20):
                progress(1.0)
                digest.update(piece)
                stream.write(piece)
                if (size := size + len(piece)) > LARGEST:
                    raise InputError(
                        f"trainer: {file.name} has more than {LARGEST} bytes; no model of a "
                        "recipe here has: train with fewer parameters"
                    )
        if not response.is_success or digest.hexdigest() != sha256:
            LOG.warning("trainer, %s: status %d, or another hash", path, response.status_code)
            raise Problem(503, AWAY, Retry_After="5")

    @contextmanager
    def _reached(self, path: str) -> Iterator[httpx2.Client]:
        token = tokens.internal(self._settings, AUDIENCE)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with httpx2.Client(timeout=TIMEOUT, trust_env=False, headers=headers) as client:
                yield client
        except (httpx2.HTTPError, ValueError) as error:
            LOG.warning("trainer, %s: %s", path, type(error).__name__)
            raise Problem(503, AWAY, Retry_After="5") from None


def _refused(path: str, response: httpx2.Response, said: Any) -> Exception:
    if response.status_code == 422 and isinstance(said, dict):
        return InputError(str(said.get("detail")))
    LOG.warning("trainer, %s: status %d", path, response.status_code)
    return Problem(503, AWAY, Retry_After="5")
