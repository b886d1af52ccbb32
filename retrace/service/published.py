"""The published models as versions of the registry."""

import json
import re
import subprocess
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.runs import models
from retrace.service import registry
from retrace.service import registry_files as files
from retrace.service.database import Database
from retrace.service.pool import Model, Models
from retrace.service.settings import Settings
from retrace.service.tables import new_id
from retrace.service.tables_models import Version

LOG = getLogger(__name__)


def register(database: Database, settings: Settings, served: Models) -> None:
    """Let each published model that can answer be a version; the first one of a model goes into
    production, a later one waits for a promotion. A version whose file is gone gets it again.

    Processes that start at once take turns. What cannot be registered answers all the same, where
    nothing else of its name is in production; app.log has the reason.
    """
    for model in served.published.values():
        if model.card is None:
            continue
        try:
            with database.read() as session:  # most of the time there is nothing to do
                if _settled(session, settings, model):
                    continue
            with database.write() as session:
                registry.alone(session, model.name)
                _register(session, settings, model)
        except (InputError, OSError, SQLAlchemyError) as error:
            LOG.error("model %s: not registered: %s", model.name, type(error).__name__)


def is_of(settings: Settings, model: Model, weights: str, file: str) -> bool:
    """Whether a published model, as it was opened, is the version with these hashes."""
    assert model.card is not None
    here = _file(settings, model)
    same = here is None or not file or files.digest(here) == file
    return model.card.hashes.get("weights") == weights and same


def _settled(session: Session, settings: Settings, model: Model) -> bool:
    found = _version(session, settings, model)
    if found is None or registry.production(session, model.name) is None:
        return False
    return found.source != "published" or files.state(settings, found) in (
        "whole",
        "elsewhere",
        "removed",
    )


def _version(session: Session, settings: Settings, model: Model) -> Version | None:
    """The version that this model is."""
    assert model.card is not None
    weights = model.card.hashes.get("weights", "")
    wanted = select(Version).where(Version.model == model.name, Version.weights == weights)
    rows = session.scalars(wanted.order_by(Version.number.desc()))
    return next((row for row in rows if is_of(settings, model, row.weights, row.file)), None)


def _register(session: Session, settings: Settings, model: Model) -> None:
    here, found = _file(settings, model), _version(session, settings, model)
    if found is None:
        version_id = new_id()
        if here:
            files.copy(settings.home, version_id, here)
        new = _new(settings, model, files.digest(here) if here else "")
        found = registry.register(session, version_id, new)
        waits = registry.production(session, model.name)
        if waits is not None:
            LOG.info(
                "model %s: version %d was published and waits for a promotion; version %d is in "
                "production",
                model.name,
                found.number,
                waits.number,
            )
    elif here and files.state(settings, found) in ("missing", "damaged"):
        files.copy(settings.home, found.id, here)
        found.file = files.digest(here)
        LOG.info("model %s: version %d has its file again", model.name, found.number)
    if files.state(settings, found) != "removed":
        registry.first(session, settings, found)


def _file(settings: Settings, model: Model) -> Path | None:
    """The published file of a model; None where it is not here, or not the one that was opened."""
    try:
        found = models.find(settings.root, model.name)
        said = _hashes(found, files.digest(found)) if model.network else None
    except (InputError, KeyError, OSError):
        return None
    return found if said is None or said == (model.card and model.card.hashes) else None


@lru_cache(maxsize=64)
def _hashes(file: Path, digest: str) -> dict[str, str]:
    """What the metadata of a model file say that it was made from."""
    found: dict[str, str] = models.card(file)["hashes"]
    return found


def _new(settings: Settings, model: Model, file: str) -> registry.New:
    root, folder = settings.root, settings.root / "recipes" / model.name
    assert model.card is not None
    lock = _text(folder / "dvc.lock")
    return registry.New(
        model=model.name,
        source="published",
        files=None,
        weights=model.card.hashes.get("weights", ""),
        file=file,
        commit=_commit(root, folder / "dvc.lock"),
        data={
            "kind": "published",
            "recordings": [],
            "persons": None,
            "raw": _md5(lock, "data/raw"),
            "split": _md5(lock, "data/split.csv"),
        },
        metrics={
            "validation": _json(folder / "train/metrics.json"),
            "test": _json(folder / "metrics.json"),
        },
        comparison=None,
        params=_params(root, model.name),
        lock=lock,
    )


def _params(root: Path, name: str) -> str:
    """The params.yaml of a published run; the recipe alone where YAML cannot be written here."""
    try:
        from retrace.runs import recipes
    except ImportError:  # of the extra `train`, which a gateway need not have
        return _text(root / "recipes" / f"{name}.yaml")
    try:
        return recipes.render(root, name)
    except InputError:
        return ""


def _commit(root: Path, file: Path) -> str | None:
    """The revision at which a file was last changed; None without Git."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%H", "--", str(file.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:64] or None


def _md5(lock: str, out: str) -> str | None:
    """The hash of what a stage wrote or read, in the text of a dvc.lock."""
    found = re.search(rf"path: {re.escape(out)}\n\s+hash: md5\n\s+md5: (\S+)", lock)
    return found and found[1]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
