"""The files of the registry: HOME/registry/ID/model.onnx, and what a version has beside it.

They are synced and renamed to their place before the row of the version is committed, and go after
it is marked: so each version has its files, whenever the machine stops, and what has no row is
swept away at a later start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import new_file
from retrace.service.database import Database
from retrace.service.pool import network
from retrace.service.settings import Settings
from retrace.service.tables import new_id
from retrace.service.tables_models import Version

if TYPE_CHECKING:
    from retrace.service.registry import New

FOLDER, FILE = "registry", "model.onnx"  # of HOME, of a version
LEFT = 3600.0  # s; no transaction takes so long: files without a row are a killed process's

# "elsewhere": the predictor of PREDICTOR_URL has its file. "removed": an admin took it away.
State = Literal["whole", "missing", "damaged", "elsewhere", "removed"]
WORDS = {
    "missing": "its file is gone",
    "damaged": "its file is damaged",
    "removed": "its files were removed",
}


def place(home: Path, new: New) -> str:
    """Move the files of what becomes a version to their place; returns the version's id.

    Before the row of the version is written, and once, however often that is tried. Raises
    InputError where model.onnx is not the file that `new.file` names; then nothing is moved.
    """
    version_id = new_id()
    if new.files is None:
        return version_id
    settle(new)
    folder = home / FOLDER / version_id
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new.files.replace(folder)
    _sync(folder.parent)
    return version_id


def settle(new: New) -> None:
    """Check and sync the files of what becomes a version. What was settled, `place` moves in no
    time, as befits a transaction. Raises InputError as `place`."""
    if new.files is None:
        return
    model = new.files / FILE
    if not model.is_file() or digest(model) != new.file:
        raise InputError(
            f"model {new.model}: {FILE} is missing, or not the file that was trained: train again"
        )
    for one in (*new.files.iterdir(), new.files):
        _sync(one)


def copy(home: Path, version_id: str, source: Path) -> None:
    """Let a version have a copy of `source` as its model.onnx, synced."""
    target = home / FOLDER / version_id / FILE
    with new_file(target) as part:
        shutil.copyfile(source, part)
        _sync(part)
    for folder in (target.parent, target.parent.parent):
        _sync(folder)


def discard(home: Path, version_id: str) -> None:
    """Remove the files of what did not become a version, or is one no longer."""
    shutil.rmtree(home / FOLDER / version_id, ignore_errors=True)


def path(settings: Settings, version_id: str) -> Path:
    """The folder of a version's files: model.onnx, and validation.npz, test.npz, reference.json,
    each of which may be missing."""
    return settings.home / FOLDER / version_id


def named(version_id: str) -> str:
    """A version's model.onnx as it is told: without HOME."""
    return f"{FOLDER}/{version_id}/{FILE}"


def digest(file: Path) -> str:
    """The SHA-256 of a file, computed once for as long as nothing was written into it."""
    return _digest(file, _stamp(file))


def state(settings: Settings, version: Version) -> State:
    """What has become of a version's model.onnx. Cheap: a file that nobody has written to since is
    not read again."""
    if version.data.get("removed"):
        return "removed"
    if not version.file:
        return "elsewhere" if _held_by_predictor(settings, version) else "missing"
    try:
        found = digest(path(settings, version.id) / FILE)
    except OSError:
        return "missing"
    return "whole" if found == version.file else "damaged"


def check(settings: Settings, version: Version) -> None:
    """Refuse a version that cannot answer; InputError with the remedy."""
    if why := WORDS.get(state(settings, version)):
        raise InputError(
            f"model {version.model}: version {version.number} cannot answer, for {why} "
            f"({named(version.id)}): promote another version, roll back, or put the file "
            "back"
        )


def predictor(settings: Settings, version: Version) -> Predictor:
    """A version, ready to answer; its file's hash is checked.

    Raises InputError where its file is gone, damaged, removed, or not readable by this Retrace.
    """
    check(settings, version)
    if not version.file:
        return Predictor(network(version.model, settings))
    return Predictor(path(settings, version.id) / FILE)


def sweep(settings: Settings, database: Database) -> None:
    """Remove the files of versions that were never registered, and of those that were removed."""
    home = settings.home / FOLDER
    folders = list(home.iterdir()) if home.is_dir() else []
    with database.read() as session:
        rows = session.execute(select(Version.id, Version.data)).all()
    known = {row.id for row in rows if not row.data.get("removed")}
    for folder in folders:
        with suppress(FileNotFoundError):  # another process sweeps too
            if folder.name not in known and folder.stat().st_ctime < time.time() - LEFT:
                shutil.rmtree(folder, ignore_errors=True)


def _held_by_predictor(settings: Settings, version: Version) -> bool:
    """Whether PREDICTOR_URL answers by these weights: those that are published now."""
    if not settings.predictor_url:
        return False
    try:
        card = network(version.model, settings).card
    except (InputError, OSError):
        return False
    return card.hashes.get("weights") == version.weights


def _stamp(file: Path) -> tuple[int, int, int, int]:
    """What changes when something is written into a file, even where its times are set back."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=1024)
def _digest(file: Path, stamp: tuple[int, ...]) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(file: Path) -> None:
    """Let a file's content, or the names in a folder, outlive the machine."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
