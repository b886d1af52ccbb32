"""Group commit: whoever was answered finds his row, whatever happens to the others."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from retrace.service import tables
from retrace.service.database import Database
from retrace.service.writer import Entry, Writer, insert_all
from tests.sources import ROOT


@pytest.fixture
def database(tmp_path: Path, database_url: str) -> Any:
    """A database with one account, "u"."""
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    database = Database(url or f"sqlite:///{tmp_path / 'a.db'}")
    database.prepare()
    with database.write() as session:
        session.add(tables.User(id="u", email="u@example.org", password="-"))
    yield database
    database.close()


def entry(user_id: str = "u", beside: Any = None) -> Entry:
    row = {
        "id": tables.new_id(), "user_id": user_id, "recording_id": None, "kind": "beats",
        "model": "m", "version": "v", "segments": 1, "flagged": None, "answer": b"a",
        "signal": None, "shape": None, "truth": None, "created": tables.now(),
    }  # fmt: skip
    return Entry(row, {"N": 1}, beside)


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Prediction)) or 0


def put_all(database: Database, entries: list[Entry]) -> list[Any]:
    """What each of them gets to know, all put at the same moment."""

    async def together() -> list[Any]:
        writer = Writer(database)
        try:
            return await asyncio.gather(*map(writer.put, entries), return_exceptions=True)
        finally:
            writer.close()

    return asyncio.run(together())


def test_all_who_were_told_are_in_the_database(database: Database) -> None:
    assert put_all(database, [entry() for _ in range(300)]) == [None] * 300
    assert count(database) == 300


def test_a_row_that_cannot_be_kept_costs_no_other(database: Database) -> None:
    told = put_all(database, [entry(), entry("deleted meanwhile"), entry()])

    assert [type(one) for one in told] == [type(None), IntegrityError, type(None)]
    assert count(database) == 2


def test_what_belongs_to_a_row_is_kept_with_it_or_not_at_all(database: Database) -> None:
    def alert(session: Any) -> None:
        session.add(tables.Mail(to="a", subject="s", body="b"))

    def fails(session: Any) -> None:
        raise OperationalError("-", None, Exception("no room"))

    assert put_all(database, [entry(beside=alert)]) == [None]
    (told,) = put_all(database, [entry(beside=fails)])

    assert isinstance(told, OperationalError)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Mail)) == 1
    assert count(database) == 1


def test_rows_that_wait_for_the_database_are_committed_together(database: Database) -> None:
    begun, free = threading.Event(), threading.Event()

    def slow() -> None:
        with database.write() as session:
            insert_all(session, [entry()])
            begun.set()
            free.wait(5)

    other = threading.Thread(target=slow)
    other.start()
    assert begun.wait(5)

    async def wait() -> list[None]:
        writer = Writer(database)
        asks = [asyncio.create_task(writer.put(entry())) for _ in range(20)]
        await asyncio.sleep(0.05)
        free.set()
        try:
            return await asyncio.gather(*asks)
        finally:
            writer.close()

    assert asyncio.run(wait()) == [None] * 20
    other.join()
    assert count(database) == 21


KILLED = """
import asyncio, sys
from retrace.service.database import Database
from retrace.service.writer import Writer
from tests.test_service_writer import entry

async def main():
    writer = Writer(Database(sys.argv[1]))
    async def ask():
        while True:
            one = entry()
            await writer.put(one)
            print(one.row["id"], flush=True)
    await asyncio.gather(*(ask() for _ in range(8)))

asyncio.run(main())
"""


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = Database(url)
    database.prepare()
    with database.write() as session:
        session.add(tables.User(id="u", email="u@example.org", password="-"))
    database.close()
    command = [sys.executable, "-c", KILLED, url]
    env = os.environ | {"PYTHONPATH": str(ROOT)}

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        told = [process.stdout.readline().strip() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split("\n")[:-1]  # the last line may be cut

    with sqlite3.connect(tmp_path / "a.db") as connection:
        kept = {row[0] for row in connection.execute("SELECT id FROM predictions")}
    assert len(told) >= 50
    assert set(told) <= kept
