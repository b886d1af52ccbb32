"""Alembic runs this for every command; the connection comes from `retrace.service.schema`."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from retrace.service import tables_models  # noqa: F401  (its tables belong to the metadata)
from retrace.service.tables import Table, Utc


def _rendered(kind: str, item: Any, autogen_context: AutogenContext) -> str | Literal[False]:
    """A revision stays what it is when our types change: it names those of SQLAlchemy."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, Utc) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_item=_rendered,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
