"""The registry: versions of models, and which of them is in production.

The alias "production" of a model names the promotion whose version answers. Nothing but `promote`
and `rollback` (and the first publication) changes it, each in one transaction with its row of
history and its line of audit; the line in app.log is written once that is committed.
"""

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.service import audit
from retrace.service import registry_files as files
from retrace.service import registry_rows as rows
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import now
from retrace.service.tables_models import Alias, Promotion, Version

# Where the files of versions lie, for whoever knows a version.
path, place, predictor, state = files.path, files.place, files.predictor, files.state
settle = files.settle
# What stands in it.
alone, production, version, versions = rows.alone, rows.production, rows.version, rows.versions

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class New:
    """What becomes a version; see `Version` for what its fields mean.

    files: a folder on the disk of HOME that becomes the version's own, with model.onnx, and
    validation.npz, test.npz, reference.json where there are such; None: without files of its own.
    data: {"kind": "recipe", "all", "newest" or "published", "recordings": ids trained on,
    "persons": how many, "raw" and "split": MD5 of data/raw and data/split.csv in dvc.lock}.
    """

    model: str
    source: Literal["published", "training"]
    files: Path | None
    weights: str
    file: str
    commit: str | None
    data: dict[str, Any]
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    params: str
    lock: str
    job_id: str | None = None
    user_id: str | None = None


def register(session: Session, version_id: str, new: New) -> Version:
    """Write the row of a version whose files `place` has moved; its number is the next one."""
    alone(session, new.model)
    last = session.scalar(select(func.max(Version.number)).where(Version.model == new.model))
    given = {field.name: getattr(new, field.name) for field in fields(New)}
    del given["files"]
    made = Version(id=version_id, number=(last or 0) + 1, **given)
    session.add(made)
    session.flush()
    _audit(session, "version.registered", made, by=new.user_id, source=new.source)
    return made


def promote(
    session: Session,
    settings: Settings,
    model: str,
    number: int,
    *,
    by: str | None,
    reason: str = "",
    expected: int | None = None,
) -> Promotion:
    """Put a version into production.

    by: user id; None: a rule of the staff. expected: the number of the version that is believed to
    be in production. Raises Problem 404 for an unknown version; 409 where its file is gone or
    damaged, where it is in production already, and where another one than `expected` is.
    """
    alone(session, model)
    chosen, before = version(session, model, number), production(session, model)
    _check_expected(model, before, expected)
    if before is not None and before.id == chosen.id:
        raise Problem(409, f"model {model}: version {number} is in production already: keep it")
    present = rows.in_force(session, model)
    back = present.id if present else None
    return _put(session, settings, chosen, "promote", back, by=by, reason=reason)


def rollback(
    session: Session,
    settings: Settings,
    model: str,
    *,
    by: str | None,
    reason: str = "",
    expected: int | None = None,
) -> Promotion:
    """Put the version into production that was there before the present one; again: further back.

    by, expected: see `promote`. Raises Problem 404 for an unknown model; 409 where there was none
    before, where its file is gone or damaged, and where another one than `expected` is there now.
    """
    alone(session, model)
    _check_expected(model, production(session, model), expected)
    to = earlier(session, model)
    chosen = session.get_one(Version, to.version_id)
    return _put(session, settings, chosen, "rollback", to.before, by=by, reason=reason)


def earlier(session: Session, model: str) -> Promotion:
    """What a rollback returns to; Problem 404 for an unknown model, 409 where there is none."""
    present = rows.in_force(session, model)
    if present is None:
        raise Problem(
            404, f"model {model[:100]}: no version is in production: GET /registry lists models"
        )
    if present.before is None:
        raise Problem(
            409,
            f"model {model}: no version was in production before this one: promote another with "
            f"POST /registry/{model}/promote",
        )
    return session.get_one(Promotion, present.before)


def first(session: Session, settings: Settings, chosen: Version) -> Promotion | None:
    """Put a published version into production where none of its model is."""
    alone(session, chosen.model)
    if production(session, chosen.model) is not None:
        return None
    return _put(session, settings, chosen, "publish", None, by=None, reason="")


def remove(session: Session, model: str, number: int, *, by: str) -> Version:
    """Mark a version as removed; `files.discard` follows, once that is committed. Its row stays:
    what was answered by it can be traced.

    Raises Problem 404 for an unknown one, 409 for one that is in production, that a rollback may
    need, or that was removed.
    """
    alone(session, model)
    chosen = version(session, model, number)
    made = session.execute(
        select(Promotion.id, Promotion.version_id, Promotion.before).where(Promotion.model == model)
    )
    promotions = {row.id: row for row in made}
    present = rows.in_force(session, model)
    step = present.id if present else None
    while step is not None:
        if promotions[step].version_id == chosen.id:
            what = "in production" if present and step == present.id else "what a rollback needs"
            raise Problem(
                409,
                f"model {model}: version {number} is {what}: promote another, or keep this one",
            )
        step = promotions[step].before
    if chosen.data.get("removed"):
        raise Problem(409, f"model {model}: the files of version {number} were removed already")
    chosen.data = chosen.data | {"removed": now().isoformat()}
    _audit(session, "version.removed", chosen, by=by)
    return chosen


def _check_expected(model: str, present: Version | None, expected: int | None) -> None:
    """Refuse what was decided while another version was in production."""
    if expected is not None and (present is None or present.number != expected):
        by_now = f"version {present.number}" if present else "none"
        raise Problem(
            409,
            f"model {model}: {by_now} is in production, not version {expected}: look at GET "
            f"/registry/{model}, then decide again",
        )


def _put(
    session: Session,
    settings: Settings,
    chosen: Version,
    action: str,
    before: str | None,
    *,
    by: str | None,
    reason: str,
) -> Promotion:
    """Let the alias name a new promotion of `chosen`. before: the promotion to roll back to."""
    try:
        files.check(settings, chosen)
    except InputError as error:
        raise Problem(409, str(error)) from None
    model, present = chosen.model, production(session, chosen.model)
    made = Promotion(
        model=model,
        version_id=chosen.id,
        action=action,
        reason=reason,
        before=before,
        user_id=by,
    )
    session.add(made)
    session.flush()
    alias = session.get(Alias, (model, rows.PRODUCTION), populate_existing=True)
    if alias is None:
        session.add(Alias(model=model, name=rows.PRODUCTION, promotion_id=made.id))
    else:
        alias.promotion_id = made.id
    session.flush()
    old, new = files.named(present.id) if present else None, files.named(chosen.id)
    said = {"from_number": present.number if present else None, "from_path": old, "to_path": new}
    _audit(session, f"version.{action}", chosen, by=by, **said)
    said_first = f"version {present.number}, {old}" if present else "nothing"
    line = f"model {model}: {action} of version {chosen.number}: from {said_first} to {new}"
    event.listen(session, "after_commit", lambda _: LOG.info(line), once=True)
    if present:
        from retrace.service import monitor  # which knows this module

        monitor.due(session, model, f"version {chosen.number} came into production")
    return made


def _audit(
    session: Session, action: str, chosen: Version, *, by: str | None, **more: str | int | None
) -> None:
    audit.record(
        session,
        action,
        by=by,
        subject=chosen.id,
        model=chosen.model,
        number=chosen.number,
        **more,
    )
