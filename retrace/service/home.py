"""The service's folder belongs to one database, which it names in HOME/database.id.

The database knows which recordings there are, the folder holds their files: beside another
database all of them would be swept away, as what a crash has left behind.
"""

from pathlib import Path

from sqlalchemy import select

from retrace.errors import InputError
from retrace.files import new_file
from retrace.service.database import Database
from retrace.service.recordings import KEPT
from retrace.service.tables import Identity, Recording

FILE = "database.id"


def bind(home: Path, database: Database) -> None:
    """Let a folder belong to this database; InputError where it belongs to another one."""
    path = home / FILE
    said = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    with database.read() as session:
        name = session.scalars(select(Identity.id)).one()
        if not said and (stored := {folder.name for folder in home.glob(f"{KEPT}/*")}):
            said = "" if stored.intersection(session.scalars(select(Recording.id))) else "another"
    if said not in ("", name):
        raise InputError(
            f"{home}: belongs to another database, where the rows of its recordings are: name "
            "another folder with --home, or set DATABASE_URL to the one that this folder began with"
        )
    if not said:
        with new_file(path) as part:
            part.write_text(f"{name}\n", encoding="ascii")
