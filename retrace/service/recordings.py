"""Uploaded recordings: kept whole or not at all, opened, deleted.

The files of an upload are synced in HOME/incoming/ID, the folder is renamed to HOME/recordings/ID,
then the row is committed; a row goes before its files. So each row has its files, whenever the
machine stops, and what has no row is swept away at the next start.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import CancelScope
from sqlalchemy import ColumnElement, select
from sqlalchemy import delete as deletion
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.errors import InputError
from retrace.service import audit, labels, privacy, tables
from retrace.service.access import Principal
from retrace.service.examined import examined
from retrace.service.problems import Problem
from retrace.service.uploads import Upload

if TYPE_CHECKING:
    from retrace.service.state import Service

INCOMING, KEPT = "incoming", "recordings"  # folders in HOME
LONGEST_PERSON = 100  # characters


@asynccontextmanager
async def incoming(service: Service) -> AsyncIterator[Path]:
    """An empty folder for `uploads.receive`, named by a new id; gone behind, unless stored."""
    folder = service.settings.home / INCOMING / tables.new_id()
    await run_in_threadpool(folder.mkdir, mode=0o700, parents=True)
    try:
        yield folder
    finally:
        with CancelScope(shield=True):  # a client that goes leaves nothing
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)


def store(
    service: Service, who: Principal, upload: Upload, *, labelled: bool = False
) -> tables.Recording:
    """Keep an upload that lies in a folder of `incoming`, with its fields "person" and "fs".

    labelled: it must have annotations with a beat or a rhythm. It blocks: call it in a thread.
    Raises InputError or Problem, and then keeps nothing.
    """
    try:
        row = _described(service, who, upload, labelled)
    except InputError as error:
        raise InputError(_told(upload.folder, str(error))) from None
    folder = service.settings.home / KEPT / row.id
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    for path in (*upload.paths, upload.folder):
        _sync(path)
    upload.folder.rename(folder)
    _sync(folder.parent)
    try:
        with service.database.write() as session:
            session.add(row)
            audit.record(session, "recording.store", by=who.user_id, subject=row.id)
    except BaseException as error:
        with suppress(SQLAlchemyError):  # where it cannot be asked whether it came through: `sweep`
            if _get(service, row.id) is None:
                shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, IntegrityError):
            raise Problem(409, "the account was deleted meanwhile; nothing was stored") from None
        raise
    return row


def _described(
    service: Service, who: Principal, upload: Upload, labelled: bool
) -> tables.Recording:
    settings = service.settings
    person, fs = _person(upload.fields.get("person")), _rate(upload.fields.get("fs"))
    if settings.header_comments == "strip":
        for path in upload.paths:
            privacy.strip(path)
    main, found = examined(upload.paths, fs, settings.longest_hours)
    marks = next((path for path in upload.paths if path.suffix == ".atr"), None)
    symbols = labels.counts(labels.read(marks)) if marks else None
    if labelled and not labels.labelled(symbols or {}):
        raise InputError(
            "no label; a labelled recording comes with annotations (.atr), one of them a beat or a "
            "rhythm: send them too, or the recording to POST /recordings"
        )
    digest = hashlib.sha256()
    for path in upload.paths:
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return tables.Recording(
        id=upload.folder.name,
        user_id=who.user_id,
        person=person,
        name=found.name,
        file=main.name,
        fs=found.fs,
        leads=list(found.leads),
        samples=found.samples,
        age=found.age,
        sex=found.sex,
        labels=symbols,
        bytes=sum(path.stat().st_size for path in upload.paths),
        sha256=digest.hexdigest(),
    )


def _person(text: str | None) -> str | None:
    if not text:
        return None
    if len(text) > LONGEST_PERSON or not text.isprintable():
        raise InputError(
            f"person: {len(text)} characters; at most {LONGEST_PERSON} that can be printed, and no "
            "name but a pseudonym: shorten it"
        )
    return text


def _rate(text: str | None) -> float | None:
    if not text:
        return None
    with suppress(ValueError):
        return float(text)
    raise InputError(f"fs: {text[:20]!r} is no number; it is the sampling rate in Hz: correct it")


def _sync(path: Path) -> None:
    """Let a file's content, or the names in a folder, outlive the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(folder: Path, why: str) -> str:
    """A reader's sentence as the uploader may see it: no folder of ours, fields for options."""
    why = why.replace(f"{folder}/", "").replace("--fs", "fs")
    # A library's sentence may hold the beginning of the path alone.
    return re.sub(re.escape(str(folder.absolute())[:12]) + r"[^'\"]*", "...", why)


def opened(service: Service, row: tables.Recording) -> Recording:
    """A stored recording, to be read piece by piece. It blocks.

    Raises Problem 404 where it has been deleted meanwhile, InputError where its file is damaged.
    """
    folder = service.settings.home / KEPT / row.id
    found = next(open_inputs([folder / row.file], row.fs))
    if not folder.exists():
        raise _gone()
    if isinstance(found, Refused):
        raise InputError(_told(folder, found.why))
    assert not isinstance(found, Ready)
    return found


def find(service: Service, who: Principal, recording_id: str) -> tables.Recording:
    """The row of a recording that `who` may see; Problem 404 for any other."""
    row = _get(service, recording_id)
    if row is None or not (who.role == "staff" or row.user_id == who.user_id):
        raise _gone()
    return row


def listed(
    service: Service, who: Principal, *, person: str | None, before: str | None, limit: int
) -> list[tables.Recording]:
    """The latest recordings that `who` may see, before the one with id `before`."""
    query = select(tables.Recording).order_by(tables.Recording.id.desc()).limit(limit)
    if who.role != "staff":
        query = query.where(tables.Recording.user_id == who.user_id)
    if person is not None:
        query = query.where(tables.Recording.person == person)
    if before is not None:
        query = query.where(tables.Recording.id < before)
    with service.database.read() as session:
        return list(session.scalars(query))


def delete(service: Service, who: Principal, recording_id: str) -> None:
    """Remove a recording with its predictions, alerts, feedback and jobs.

    Its owner and admins may: Problem 403 for others who see it, 404 for who does not.
    """
    if who.role != "admin" and find(service, who, recording_id).user_id != who.user_id:
        raise Problem(
            403, "another account's recording; its owner or an admin removes it: ask them"
        )
    if not remove(service, tables.Recording.id == recording_id, by=who.user_id, why="delete"):
        raise _gone()


def delete_of_person(service: Service, who: Principal, person: str) -> int:
    """Remove all recordings of a person likewise; how many there were."""
    return remove(service, tables.Recording.person == person, by=who.user_id, why="person")


def remove(service: Service, condition: ColumnElement[bool], *, by: str | None, why: str) -> int:
    """Remove the recordings of which this is true, their rows first; how many there were."""
    with service.database.write() as session:
        rows = deletion(tables.Recording).where(condition).returning(tables.Recording.id)
        found = list(session.scalars(rows))
        for recording_id in found:
            audit.record(session, "recording.delete", by=by, subject=recording_id, why=why)
    for recording_id in found:
        shutil.rmtree(service.settings.home / KEPT / recording_id, ignore_errors=True)
    return len(found)


def _get(service: Service, recording_id: str) -> tables.Recording | None:
    with service.database.read() as session:
        return session.get(tables.Recording, recording_id)


def _gone() -> Problem:
    return Problem(404, "no such recording among those that you see: look at GET /recordings")
