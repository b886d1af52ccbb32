"""What the registry holds, read: versions, which is in production, what was before."""

import math
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session, defer

from retrace.scoring.scores import F1_OF_BEATS
from retrace.service import registry_files as files
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables_models import Alias, Evaluation, Promotion, Suspension, Version

PRODUCTION = "production"
LOCK = 0x52656772  # of PostgreSQL, with the hash of a model's name: "Regr"
# Scores of which more is better; a loss is none.
SCORES = ("accuracy", "f1_macro", "sensitivity_macro", "sensitivity_minority", "challenge_f1",
          *F1_OF_BEATS)  # fmt: skip


def alone(session: Session, model: str) -> None:
    """Let no other transaction change this model's versions until this one ends. (Whoever writes
    into SQLite is alone anyhow.)"""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(LOCK, func.hashtext(model))))


def production(session: Session, model: str) -> Version | None:
    """The version of a model that answers; None where none was promoted yet."""
    wanted = _in_production(select(Version)).where(Alias.model == model)
    found: Version | None = session.scalar(wanted)
    return found


def in_production(session: Session) -> list[Row[tuple[str, str, int, str, str]]]:
    """Every model's version that answers: model, id, number, weights, file."""
    columns = (Version.model, Version.id, Version.number, Version.weights, Version.file)
    return list(session.execute(_in_production(select(*columns)).order_by(Version.model)).all())


def versions(session: Session, model: str, limit: int | None = None) -> list[Version]:
    """The versions of a model, the newest first; without their params and lock, which can be read
    only while the session lasts."""
    wanted = select(Version).where(Version.model == model).order_by(Version.number.desc())
    wanted = wanted.limit(limit).options(defer(Version.params), defer(Version.lock))
    return list(session.scalars(wanted))


def version(session: Session, model: str, number: int) -> Version:
    """One version; Problem 404 where there is none."""
    wanted = select(Version).where(Version.model == model, Version.number == number)
    if (found := session.scalar(wanted)) is None:
        raise Problem(
            404,
            f"model {model[:100]}: the registry has no version {number} of it: GET /registry lists "
            "models, GET /registry/NAME versions",
        )
    return found


def history(session: Session, model: str, limit: int) -> list[tuple[Promotion, Version]]:
    """What was put into production, the newest first."""
    wanted = (
        select(Promotion, Version)
        .join(Version, Version.id == Promotion.version_id)
        .where(Promotion.model == model)
        .order_by(Promotion.id.desc())
        .limit(limit)
        .options(defer(Version.params), defer(Version.lock))
    )
    return [(row[0], row[1]) for row in session.execute(wanted)]


def models(session: Session) -> list[tuple[str, int]]:
    """Every model by name, and how many versions it has."""
    wanted = select(Version.model, func.count()).group_by(Version.model).order_by(Version.model)
    return [(row[0], row[1]) for row in session.execute(wanted)]


def evaluated(session: Session, version: Version) -> Evaluation | None:
    """The latest evaluation of how good a version is."""
    wanted = select(Evaluation).where(
        Evaluation.version_id == version.id, Evaluation.kind == "performance"
    )
    return session.scalar(wanted.order_by(Evaluation.id.desc()).limit(1))


def suspended(session: Session) -> dict[str, Suspension]:
    """The models that give no answers at present."""
    wanted = select(Suspension).where(Suspension.released.is_(None))
    return {row.model: row for row in session.scalars(wanted)}


def in_force(session: Session, model: str) -> Promotion | None:
    """The promotion that is in force."""
    wanted = select(Promotion).join(Alias, Alias.promotion_id == Promotion.id)
    return session.scalar(wanted.where(Alias.model == model, Alias.name == PRODUCTION))


def best(
    session: Session, settings: Settings, model: str, score: str
) -> tuple[int, dict[str, str]]:
    """The number of the version with the highest `score` (of SCORES) on the validation part, the
    newest of equals; and which versions were not asked, and why.

    Compared are versions with the validation part of the one in production, or where none is, of
    the newest. The test part is never asked. Raises Problem 404 for an unknown model, 409 where no
    version has the score.
    """
    found, left = dict[int, float](), dict[str, str]()
    every = versions(session, model)
    like = production(session, model) or next(iter(every), None)
    for one in every:
        value = (one.metrics.get("validation") or {}).get(f"val_{score}")
        if why := files.WORDS.get(files.state(settings, one)):
            left[str(one.number)] = why
        elif like is not None and _validation(one) != _validation(like):
            left[str(one.number)] = "its validation part is another one"
        elif not isinstance(value, int | float) or not math.isfinite(value):
            left[str(one.number)] = f"no {score} on the validation part is known"
        else:
            found[one.number] = value
    if not found and not left:
        raise Problem(404, f"model {model[:100]}: not in the registry: GET /registry lists models")
    if not found:
        raise Problem(
            409,
            f"model {model}: of no version {score} on the validation part can be compared: choose "
            "another score, or name the version",
        )
    return max(found, key=lambda number: (found[number], number)), left


def _in_production(wanted: Any) -> Any:
    return (
        wanted.join(Promotion, Promotion.version_id == Version.id)
        .join(Alias, Alias.promotion_id == Promotion.id)
        .where(Alias.name == PRODUCTION)
    )


def _validation(version: Version) -> str | None:
    """What is the same for versions with the same validation part."""
    found: str | None = version.data.get("validation") or version.data.get("split")
    return found
