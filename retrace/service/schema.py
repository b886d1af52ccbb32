"""The version of the database's tables, and the way to the present one.

A change of `tables` needs a revision: `python -m retrace.service.schema "what changes"` writes it
into migrations/versions, to be read and corrected.
"""

import sys
import tempfile

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from retrace.errors import InputError

LOCK = 0x52657472616365  # of PostgreSQL, for whoever changes the tables: "Retrace"


def upgrade(engine: Engine) -> None:
    """Bring the tables to the present version, where they are not; processes take turns.

    Raises InputError for a database that a newer Retrace has written.
    """
    with engine.connect() as connection:
        if _present(connection):
            return
    with engine.execution_options(writing=True).begin() as connection:  # SQLite: locked from here
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        if not _present(connection):
            command.upgrade(_config(connection), "head")


def _present(connection: Connection) -> bool:
    """Whether the tables have the present version; InputError where it is not known."""
    scripts = ScriptDirectory.from_config(_config(connection))
    current = MigrationContext.configure(connection).get_current_revision()
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise InputError(
            f"the database has version {current}, which a newer Retrace has written: update "
            "Retrace, or name another database"
        )
    return current == scripts.get_current_head()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "retrace.service:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _write_revision(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/empty.db")
        upgrade(engine)
        with engine.begin() as connection:
            command.revision(_config(connection), message, autogenerate=True)


if __name__ == "__main__":
    _write_revision(sys.argv[1])
