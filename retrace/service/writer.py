"""Group commit: the answers of many requests become durable by one sync of the disk.

A commit takes a hundred times as long as an answer. A thread takes all rows that wait, commits
them together, and only then are their requests answered; the next ones gather meanwhile.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from retrace.service.database import Database
from retrace.service.tables import Prediction, Table

MOST = 256  # rows of a commit, so that the first of them does not wait for long
# s for which more rows are waited for once several have come together: a commit takes as much of
# the processor for one as for many.
GATHERED = 0.002
_INSERT = insert(Table.metadata.tables[Prediction.__tablename__])


@dataclass(frozen=True)
class Entry:
    """A row of the table of predictions, whole. counts: of its segments by class. beside: what else
    belongs to its transaction."""

    row: dict[str, Any]
    counts: dict[str, int]
    beside: Callable[[Session], None] | None = None


def insert_all(session: Session, entries: list[Entry]) -> None:
    """Write entries in the transaction of `session`."""
    session.connection().execute(_INSERT, [entry.row for entry in entries])
    for entry in entries:
        if entry.beside:
            entry.beside(session)


class Writer:
    """The thread that commits. Who puts rows in bounds their number: each waits for its own."""

    def __init__(self, database: Database) -> None:
        # Of SQLAlchemy the lower half: a session takes as long as eight rows.
        self._engine = database.engine.execution_options(writing=True)
        self._waiting: SimpleQueue[tuple[Entry, asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def put(self, entry: Entry) -> None:
        """Return once the entry is committed; raise what kept it from that."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.put((entry, done))
        await done

    def close(self) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        group: list[tuple[Entry, asyncio.Future[None]]] = []
        while (first := self._waiting.get()) is not None:
            if len(group) > 1:
                sleep(GATHERED)
            group = [first]
            while len(group) < MOST and not self._waiting.empty():
                if (other := self._waiting.get()) is None:
                    self._waiting.put(None)
                    break
                group.append(other)
            self._commit(group)

    def _commit(self, group: list[tuple[Entry, asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            with self._engine.begin() as connection:
                _insert_all(connection, [entry for entry, _ in group])
        except IntegrityError as raised:
            if len(group) > 1:  # one account was deleted meanwhile: the others lose nothing
                for one in group:
                    self._commit([one])
                return
            error = raised
        except Exception as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waited
            group[0][1].get_loop().call_soon_threadsafe(_tell, group, error)


def _insert_all(connection: Connection, entries: list[Entry]) -> None:
    connection.execute(_INSERT, [entry.row for entry in entries])
    if others := [entry.beside for entry in entries if entry.beside]:
        with Session(connection) as session:
            for beside in others:
                beside(session)
            session.flush()


def _tell(group: list[tuple[Entry, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in group:
        if done.cancelled():  # its client has gone; the answer is kept
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
