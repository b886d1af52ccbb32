"""The queue of the trainer, and the thread that works on it; what the gateway sends and fetches."""

import hashlib
import re
import shutil
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from pydantic import Field

from retrace.errors import InputError
from retrace.service import results, training_data, worktree
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import ID
from retrace.service.training import OWN, Asked, checked

LOG = getLogger(__name__)
FILE = re.compile(r"([0-9a-f]{32}\.(hea|dat|atr)|persons\.csv)")
MOST, KEPT = 20, 100  # trainings that wait, and such as have ended and are still known
UNORDERED = 3600.0  # s without a file; then the gateway that sent own recordings was killed


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
        self._settings = settings.model_copy(update={"home": settings.home / "trainer"})
        self._states: dict[str, State] = {}
        self._queue: deque[tuple[str, Asked]] = deque()
        self._change = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="trainer")

    def start(self) -> None:
        """Begin to work; what an earlier trainer has left is lost."""
        worktree.sweep(self._settings, set)
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
                self._remove(name)
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
        """End a training that waits or runs; of one that is over, or was never ordered, let the
        files go. Problem 404 where it is not known."""
        with self._change:
            state = self._states.get(name)
            if state is None or state.over:
                self._remove(name)
            else:
                state.state = "cancelled"
        self.state(name)

    def place(self, name: str, file: str) -> Path:
        """Where an own recording's file goes; Problem 409 once the training is ordered, 404 for a
        name that none has, 503 where too many wait."""
        own = self._folder / f"{name}.{OWN}"
        if not FILE.fullmatch(file):
            raise Problem(404, f"file {file[:40]!r}: no file of own recordings")
        if name in self._states:
            raise Problem(409, f"training {name}: ordered already; its files come before")
        if not own.is_dir() and len(self._waiting()) >= MOST:
            raise Problem(503, f"{MOST} trainings wait already", Retry_After="600")
        if own.is_dir() and len(list(own.iterdir())) > 3 * training_data.MOST:
            raise Problem(422, f"training {name}: too many files; {training_data.MOST} recordings")
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return own / file

    def made(self, name: str, file: str) -> Path:
        """A file of what came of a training; Problem 404 where there is none."""
        path = self._folder / f"{name}{worktree.OUT}" / file
        if file not in results.FILES or not path.is_file():
            raise Problem(404, f"training {name}: no file {file[:40]!r}")
        return path

    @property
    def _folder(self) -> Path:
        return self._settings.home.absolute() / worktree.FOLDER

    def _waiting(self) -> list[Path]:
        """The folders of own recordings; those whose training will not be ordered any more go."""
        found = []
        for own in self._folder.glob(f"*.{OWN}"):
            with suppress(FileNotFoundError):  # it is moved into its work tree
                late = time.time() - own.stat().st_mtime > UNORDERED
                if late and own.stem not in self._states:
                    shutil.rmtree(own, ignore_errors=True)
                else:
                    found.append(own)
        return found

    def _remove(self, name: str) -> None:
        for suffix in (worktree.OUT, f".{OWN}"):
            shutil.rmtree(self._folder / f"{name}{suffix}", ignore_errors=True)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._stopped or self._queue)
                if self._stopped:
                    return
                name, asked = self._queue.popleft()
                state = self._states[name]
                if state.over:
                    self._remove(name)
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
            own = None if asked.data == "recipe" else self._folder / f"{name}.{OWN}"
            if own is not None and not (own / training_data.PERSONS).is_file():
                raise InputError("training: its own recordings did not come: ask for it again")
            result = worktree.train(self._settings, name, text, progress, own)
            self._over(state, State("done", 1.0, result | {"files": self._digests(name)}))
        except _Cancelled:
            self._over(state, State("cancelled", state.progress))
        except (InputError, Problem) as error:
            self._over(state, State("failed", state.progress, error=str(error)))
        except Exception:
            LOG.exception("training %s", name)
            why = "training: the fault is the service's: ask its admin"
            self._over(state, State("failed", state.progress, error=why))

        if state.state != "done":
            self._remove(name)

    def _digests(self, name: str) -> dict[str, str]:
        """The SHA-256 of each file that came of it."""
        found = {}
        for path in (self._folder / f"{name}{worktree.OUT}").iterdir():
            if path.name in results.FILES:
                with path.open("rb") as stream:
                    found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found

    def _over(self, state: State, last: State) -> None:
        """Note how it ended, unless it was cancelled meanwhile."""
        with self._change:
            if not state.over:
                vars(state).update(vars(last))
