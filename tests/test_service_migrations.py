"""The tables of a database: those that the code describes, however it came to them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from retrace.errors import InputError
from retrace.service.database import Database
from retrace.service.tables import Table, User
from tests.serving import service_settings


@pytest.fixture
def url(tmp_path: Path, database_url: str) -> str:
    """The address of an empty database of either kind."""
    address: str = service_settings(tmp_path, database_url=database_url).database
    return address


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def test_an_empty_database_gets_the_tables_that_the_code_describes(database: Database) -> None:
    database.prepare()

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_every_constraint_has_a_name(database: Database) -> None:
    database.prepare()

    looked = inspect(database.engine)
    for table in Table.metadata.tables:
        assert looked.get_pk_constraint(table)["name"] == f"pk_{table}"
        for constraint in looked.get_foreign_keys(table) + looked.get_unique_constraints(table):
            assert str(constraint["name"]).startswith(("fk_", "uq_")), constraint


def test_preparing_again_keeps_what_is_there(database: Database) -> None:
    database.prepare()
    with database.write() as session:
        session.add(User(email="a@example.org", password="none"))

    database.prepare()

    with database.read() as session:
        assert session.scalars(select(User.email)).all() == ["a@example.org"]


def test_processes_that_start_at_once_take_turns(url: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(6)

    def prepare() -> None:
        database = Database(url)
        try:
            together.wait()
            database.prepare()
        except BaseException as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    database.prepare()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(InputError, match="version 9999, which a newer Retrace has written"):
        database.prepare()


def test_a_revision_that_breaks_off_leaves_the_tables_as_they_were(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "batch_alter_table", broken)
        with pytest.raises(RuntimeError, match="the power is gone"):
            database.prepare()

    assert inspect(database.engine).get_table_names() == []
    database.prepare()
