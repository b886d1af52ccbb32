"""The database: SQLite in the service's folder, or PostgreSQL by its address."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from retrace.errors import InputError
from retrace.service import schema

PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON")
WAIT = 10  # s for another writer, or for a connection


class Database:
    """Sessions that read, and sessions that write and commit at their end.

    What a writing session has committed outlives the process and the machine: SQLite syncs its
    log at each commit, as PostgreSQL does.

    Raises InputError for an address that is none.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(writing=True)

    def prepare(self) -> None:
        """Bring the tables to the present version; processes that start at once take turns."""
        schema.upgrade(self.engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing; what it loaded stays readable behind it."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed at the end, undone where anything is raised."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except ArgumentError:
        name = ""
    if name not in ("sqlite", "postgresql"):
        raise InputError(
            "DATABASE_URL: not an address of PostgreSQL or SQLite; it is "
            "postgresql://user:password@host/name, or empty for a SQLite file: correct it"
        )
    # Values stay out of messages and logs: they are signals, tokens and hashes.
    common: dict[str, Any] = {"pool_timeout": WAIT, "hide_parameters": True}
    common["json_serializer"] = _json  # of ten times the speed
    try:
        if name == "postgresql":
            wait = {"connect_timeout": WAIT}
            return create_engine(
                parsed, connect_args=wait, pool_pre_ping=True, pool_size=10, **common
            )
        wait = {"timeout": WAIT, "check_same_thread": False}
        engine = create_engine(parsed, connect_args=wait, **common)
    except (SQLAlchemyError, ImportError) as error:
        raise InputError(f"DATABASE_URL: {error}: correct it") from None
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    return engine


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _connected(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Set a new SQLite connection up.

    Without the write-ahead log readers would wait for writers; FULL syncs it at each commit. What
    is deleted is overwritten.
    """
    connection.isolation_level = None  # `_begun` begins transactions, not the driver
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begun(connection: Any) -> None:
    """A transaction that will write takes its turn at once: SQLite refuses to wait later on."""
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
