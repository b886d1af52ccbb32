"""What every process of the service follows: which versions are in production, and which models
are suspended."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from logging import getLogger
from threading import Event, Lock, Thread

from sqlalchemy.exc import SQLAlchemyError

from retrace.errors import InputError
from retrace.service import published, registry_rows
from retrace.service import registry_files as files
from retrace.service.database import Database
from retrace.service.pool import Model, Models, ready
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables_models import Version

LOG = getLogger(__name__)
EVERY = 1.0  # s between two readings: so late is seen what another process changed
STALE = 5.0  # s; what was not read for so long may have changed since
SENTENCE = (
    "model {}: suspended since {:%Y-%m-%d %H:%M} UTC: {}; it answers again when {}staff release "
    "it, and the other models can answer"
)


class Follower:
    """Brings `Models` up to date: a thread reads the registry again and again, another one opens
    what has come into production, for a large file takes seconds.

    A version that cannot be opened leaves its model unusable, with the reason, until another one is
    in production or its file is back: no answer comes from a version that is not in production.
    Closed at the end of the service.
    """

    def __init__(self, database: Database, settings: Settings, models: Models) -> None:
        self._database, self._settings, self._models = database, settings, models
        self._reading, self._bringing, self._closed = Lock(), Lock(), Event()
        # model -> its version's id, and where that could not be opened the state of its file
        self._brought: dict[str, tuple[str, files.State | None]] = {}
        self._opening: Future[None] | None = None
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="models")
        self.follow()
        self._thread = Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def follow(self) -> None:
        """Bring everything up to date now; returns once it is."""
        self._read()
        self._bring()

    def changed(self) -> None:
        """The same after a change of this process, which is made even if that fails here."""
        with suppress(SQLAlchemyError):  # the thread goes on trying
            self.follow()

    def close(self) -> None:
        """End the threads; one that waits for a database that is gone is not waited for."""
        self._closed.set()
        self._thread.join(3)
        self._opener.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        failing = False
        while not self._closed.wait(EVERY):
            try:
                self._read()
                if self._opening is None or self._opening.done():
                    last, self._opening = self._opening, self._opener.submit(self._bring)
                    if last:
                        last.result()
                failing = False
            except Exception as error:  # of whatever kind: `Models.get` tells by the age
                if not failing:
                    LOG.warning("registry: cannot be read: %s", type(error).__name__)
                failing = True

    def _read(self) -> None:
        """Take over what is suspended."""
        with self._reading:  # or a reading from before a change would end behind the one after it
            begun = time.monotonic()
            with self._database.read() as session:
                found = registry_rows.suspended(session)
            said = {}
            for model, row in found.items():
                ends = "performance is back or " if row.ruled else ""
                said[model] = SENTENCE.format(model, row.created, row.reason, ends)
            for model in said.keys() ^ self._models.suspended.keys():
                # The reason is in the answers: staff write what they like.
                LOG.info("model %s: %s", model, "suspended" if model in said else "answers again")
            self._models.suspended = said
            self._models.valid_until = begun + STALE

    def _bring(self) -> None:
        """Open what is in production and not at hand yet."""
        with self._bringing:
            for version in self._new():
                self._put(version)

    def _new(self) -> list[Version]:
        """What is in production and not at hand, or could not be opened and has changed since."""
        found = []
        with self._database.read() as session:
            for row in registry_rows.in_production(session):
                brought, failed = self._brought.get(row.model, (None, None))
                if not self._models.serves(row.model) or (brought == row.id and failed is None):
                    continue
                version = session.get_one(Version, row.id)
                if brought != row.id or failed != files.state(self._settings, version):
                    found.append(version)
        return found

    def _put(self, version: Version) -> None:
        """Let this version answer, or its model not at all."""
        name, number = version.model, version.number
        try:
            found, failed = self._opened(version), None
        except (
            Exception
        ) as error:  # of whatever kind: what was in production before is not any more
            failed = files.state(self._settings, version)
            told = isinstance(error, InputError | Problem)
            kind = f"{type(error).__name__} while it was opened"
            why = str(error) if told else f"model {name}: version {number} cannot answer ({kind})"
            found = Model(name, version.weights[:12], why_not=why)
            LOG.error(
                "model %s: version %d cannot answer: %s",
                name,
                number,
                failed if told else kind,
                exc_info=None if told else error,
            )
        self._models.put(replace(found, number=number))
        self._brought[name] = (version.id, failed)
        if failed is None:
            place = files.named(version.id)
            LOG.info("model %s: version %d answers, of %s", name, number, place)

    def _opened(self, version: Version) -> Model:
        opened = self._models.published.get(version.model)
        hashes = (version.weights, version.file)
        if opened and opened.card and published.is_of(self._settings, opened, *hashes):
            return opened
        return ready(version.model, files.predictor(self._settings, version))
