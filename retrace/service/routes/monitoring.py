"""Monitoring: what the staff watch of a model, what was found, and its suspension."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.service import (
    audit,
    drifts,
    monitor,
    registry,
    suspensions,
    trainings,
    triggers,
    watches,
)
from retrace.service.access import Allowed, Member, Principal, Staff
from retrace.service.problems import Problem, errors
from retrace.service.routes.monitored import (
    BySubgroup,
    Counter,
    First,
    Found,
    Kind,
    Monitored,
    Newest,
    Reason,
    Started,
    Suspended,
    Watched,
    found_shown,
    suspended_shown,
    watched_shown,
)
from retrace.service.state import Running, Service
from retrace.service.tables import ID
from retrace.service.tables_models import Suspension, Version

router = APIRouter(prefix="/monitoring/{model}", tags=["monitoring"])
StaffOrAdmin = Annotated[Principal, Depends(Allowed("staff", "admin"))]
Name = Annotated[str, Path(max_length=100, pattern=r"^[^\x00]+$", examples=["mitdb_ds1_ds2"])]


@router.get("", summary="How a model does", responses=errors(401, 403, 404, 422))
def shown(service: Running, who: Member, model: Name) -> Monitored:
    """What the staff watch, the latest evaluation and look for drift, whether the model is
    suspended and why, and how near each trigger is."""
    with service.database.read() as session:
        _known(service, session, model)
        watch, suspended = watches.row(session, model), suspensions.current(session, model)
        settings = watches.current(session, model)
        performance, drift = (
            next(iter(_found(session, model, kind)), None)
            for kind in (monitor.PERFORMANCE, monitor.DRIFT)
        )
        counters = triggers.counters(session, model, settings) if settings else {}
    verdict = monitor.verdict(settings, performance.result)[1] if settings and performance else None
    return Monitored(
        model=model,
        watch=watched_shown(watch) if watch else None,
        suspension=suspended_shown(suspended) if suspended else None,
        performance=performance,
        verdict=verdict,
        drift=drift,
        triggers={kind: Counter.model_validate(one) for kind, one in counters.items()},
    )


@router.get(
    "/watch", summary="What is watched of a model, and was", responses=errors(401, 403, 404, 422)
)
def history(service: Running, who: Member, model: Name) -> list[Watched]:
    """The watch in force and those before it, the newest first."""
    with service.database.read() as session:
        _known(service, session, model)
        return [watched_shown(row) for row in watches.kept(session, model)]


@router.put("/watch", summary="Watch a model", responses=errors(401, 403, 404, 409, 422, 503))
def put(service: Running, who: Staff, model: Name, settings: watches.Settings) -> Watched:
    """Staff only. Takes the place of the watch that the model had, which is kept as history.
    Nothing has a default: what is left out does not happen. 503 where a training is named and
    nobody can train at present."""
    with service.database.read() as session:
        _known(service, session, model)
    _check(service, model, settings)
    return watched_shown(watches.put(service.database, model, settings, by=who.user_id))


@router.delete(
    "/watch",
    status_code=204,
    summary="Watch a model no longer",
    responses=errors(401, 403, 404, 422),
)
def end(service: Running, who: Staff, model: Name) -> None:
    """Staff only. From then on nothing is evaluated, trained, promoted or suspended by itself. A
    suspension that is in force stays until somebody releases it; a training under way goes on, and
    is not promoted."""
    with service.database.write() as session:
        watches.end(session, model, by=who.user_id)
        monitor.end(session, model)


@router.get(
    "/evaluations", summary="What was found of a model", responses=errors(401, 403, 404, 422)
)
def evaluations(
    service: Running,
    who: Member,
    model: Name,
    kind: Annotated[Kind | None, Query(description="of this kind alone")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    before: Annotated[str | None, Query(pattern=ID, description="older than this one")] = None,
) -> list[Found]:
    """Evaluations, looks for drift and trainings that began by themselves, the newest first."""
    with service.database.read() as session:
        _known(service, session, model)
        return _found(session, model, kind, limit=limit, before=before)


@router.get("/subgroups", summary="Scores by sex and age", responses=errors(401, 403, 404, 422))
def subgroups(service: Running, who: Member, model: Name) -> BySubgroup:
    """Of the latest evaluation, with how many persons and segments each group has."""
    with service.database.read() as session:
        _known(service, session, model)
        latest = next(iter(monitor.found(session, model, monitor.PERFORMANCE)), None)
    result = latest.result if latest else {}
    test, newest = ((result.get(part) or {}).get("subgroups") for part in ("test", "newest"))
    return BySubgroup(evaluation=latest.id if latest else None, test=test, newest=newest)


@router.post(
    "/evaluate",
    status_code=202,
    summary="Evaluate a model now",
    responses=errors(401, 403, 404, 422, 429),
)
def evaluate(service: Running, who: Member, model: Name, given: Newest | None = None) -> Started:
    """As a job: on the test part, the newest labelled recordings and the feedback. What it finds
    counts as that of a scheduled evaluation does: it may suspend the model, or release it."""
    return _started(service, who, model, monitor.EVALUATION, given)


@router.post(
    "/drift",
    status_code=202,
    summary="Look for drift now",
    responses=errors(401, 403, 404, 422, 429),
)
def drift(service: Running, who: Member, model: Name, given: Newest | None = None) -> Started:
    """As a job: compares the newest recordings that were answered with the reference, as the test
    part of the model's own run."""
    return _started(service, who, model, monitor.DRIFT, given)


@router.post(
    "/reference",
    status_code=202,
    summary="Take the first answers as the reference",
    responses=errors(401, 403, 404, 409, 422, 429),
)
def reference(service: Running, who: Staff, model: Name, given: First) -> Started:
    """Staff only. As a job: from then on drift is looked for against the first recordings that the
    version in production answered here, in place of its test part. Whoever asks for it holds that
    nothing had drifted until then."""
    with service.database.write() as session:
        _known(service, session, model)
        registry.alone(session, model)
        if monitor.open_job(session, monitor.DRIFT, model):
            raise Problem(409, f"{model}: a look for drift is under way: ask again behind it")
        job = monitor.submit(
            session, who, monitor.DRIFT, model, given.first, "asked for", adopt=True
        )
        audit.record(session, "reference.adopt", by=who.user_id, subject=model[:64], job=job.id)
        return Started(job=job.id)


@router.delete(
    "/reference",
    status_code=204,
    summary="Take the test part as the reference again",
    responses=errors(401, 403, 404, 422),
)
def no_reference(service: Running, who: Staff, model: Name) -> None:
    """Staff only."""
    drifts.discard(service, model)
    with service.database.write() as session:
        audit.record(session, "reference.discard", by=who.user_id, subject=model[:64])


@router.get("/suspensions", summary="Times without answers", responses=errors(401, 403, 404, 422))
def suspended(
    service: Running,
    who: Member,
    model: Name,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Suspended]:
    """The suspensions of a model, the newest first."""
    chosen = select(Suspension).where(Suspension.model == model)
    with service.database.read() as session:
        _known(service, session, model)
        rows = session.scalars(chosen.order_by(Suspension.id.desc()).limit(limit))
        return [suspended_shown(row) for row in rows]


@router.post("/suspend", summary="Suspend a model", responses=errors(401, 403, 404, 409, 422))
def suspend(service: Running, who: StaffOrAdmin, model: Name, given: Reason) -> Suspended:
    """Staff and admins. Within seconds predict answers 503 with the reason; all else goes on.
    Performance does not end it: POST release does."""
    with service.database.write() as session:
        _known(service, session, model)
        settings = service.settings
        row = suspensions.suspend(session, settings, model, given.reason, by=who.user_id)
    service.follower.changed()
    return suspended_shown(row)


@router.post(
    "/release", summary="Let a model answer again", responses=errors(401, 403, 404, 409, 422)
)
def release(service: Running, who: StaffOrAdmin, model: Name, given: Reason) -> Suspended:
    """Staff and admins. Where the staff's rule still holds, the next evaluation suspends the model
    again: change the watch, too."""
    with service.database.write() as session:
        _known(service, session, model)
        settings = service.settings
        row = suspensions.release(session, settings, model, given.reason, by=who.user_id)
    service.follower.changed()
    return suspended_shown(row)


def _started(
    service: Service, who: Principal, model: str, kind: str, given: Newest | None
) -> Started:
    with service.database.write() as session:
        _known(service, session, model)
        newest = given.newest if given else None
        settings = watches.current(session, model)
        if newest is None and settings is not None:
            plan = settings.drift if kind == monitor.DRIFT else settings
            newest = plan.newest if plan else None
        if newest is None:
            raise InputError(
                f'{model}: no watch says of how many; send {{"newest": 20}}, or set a watch'
            )
        job = monitor.submit(session, who, kind, model, newest, "asked for")
        audit.record(session, f"{kind}.start", by=who.user_id, subject=model[:64], job=job.id)
        return Started(job=job.id)


def _known(service: Service, session: Session, model: str) -> None:
    """Problem 404 for what is neither served nor in the registry."""
    chosen = select(Version.id).where(Version.model == model).limit(1)
    served = any(one.name == model for one in service.models)
    if not served and session.scalar(chosen) is None:
        raise Problem(404, f"model {model!r}: there is none; GET /registry lists the models")


def _check(service: Service, model: str, settings: watches.Settings) -> None:
    """Refuse a metric that the model's classes do not have, and a training that cannot be."""
    card = next((one.card for one in service.models if one.name == model), None)
    promote = settings.promote.metric if settings.promote else settings.metric
    known = watches.metrics(card.classes) if card else []
    for name in (settings.metric, promote):
        if known and name not in known:
            raise InputError(f"metric {name}: not known of {model}; it has {', '.join(known)}")
    if settings.retrain is not None:
        asked = settings.retrain.training
        if asked.model not in (None, model):
            raise InputError(f"retrain.training.model: {asked.model} is not {model}: leave it out")
        trainings.check(service.settings, asked.model_copy(update={"model": model}))


def _found(session: Session, model: str, kind: str | None, **options: Any) -> list[Found]:
    rows = monitor.found(session, model, kind, **options)
    ids = {row.version_id for row in rows}
    chosen = select(Version.id, Version.number).where(Version.id.in_(ids))
    numbers = {row.id: row.number for row in session.execute(chosen)}
    return [found_shown(row, numbers[row.version_id]) for row in rows]
