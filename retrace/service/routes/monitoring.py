"""Monitoring: what the staff watch of a model, what was found, and its suspension."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
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
    verdicts,
    watches,
)
from retrace.service.access import Member, Principal, Staff
from retrace.service.problems import Problem, errors
from retrace.service.routes import suspending
from retrace.service.routes.monitored import (
    BySubgroup,
    Counter,
    First,
    Found,
    Kind,
    Monitored,
    Newest,
    Started,
    Watched,
    found_shown,
    known,
    suspended_shown,
    watched_shown,
)
from retrace.service.routes.versions import Name
from retrace.service.state import Running, Service
from retrace.service.tables import ID
from retrace.service.tables_models import Evaluation, Version

router = APIRouter(prefix="/monitoring/{model}", tags=["monitoring"])
router.include_router(suspending.router)


@router.get("", summary="How a model does", responses=errors(401, 403, 404, 422))
def shown(service: Running, who: Member, model: Name) -> Monitored:
    """What the staff watch, the latest evaluation and look for drift, whether the model is
    suspended and why, and how near each trigger is."""
    with service.database.read() as session:
        known(service, session, model)
        watch, suspended = watches.row(session, model), suspensions.current(session, model)
        settings = watches.current(session, model)
        plan = settings.drift if settings else None
        performance = _latest(session, model, monitor.PERFORMANCE, settings)
        drift = _latest(session, model, monitor.DRIFT, plan)
        counters = triggers.counters(session, model, settings) if settings else {}
        failing = monitor.failing(session, model)
    judged = settings and performance and verdicts.verdict(settings, performance.result)
    return Monitored(
        model=model,
        watch=watched_shown(watch, who) if watch else None,
        suspension=suspended_shown(suspended) if suspended else None,
        performance=performance,
        verdict=judged.words if judged else None,
        drift=drift,
        triggers={kind: Counter.model_validate(one) for kind, one in counters.items()},
        failing=failing,
    )


@router.get(
    "/watch", summary="What is watched of a model, and was", responses=errors(401, 403, 404, 422)
)
def history(service: Running, who: Member, model: Name) -> list[Watched]:
    """The watch in force and those before it, the newest first."""
    with service.database.read() as session:
        known(service, session, model)
        return [watched_shown(row, who) for row in watches.kept(session, model)]


@router.put("/watch", summary="Watch a model", responses=errors(401, 403, 404, 409, 422, 503))
def put(service: Running, who: Staff, model: Name, settings: watches.Settings) -> Watched:
    """Staff only. Takes the place of the watch that the model had, which is kept as history.
    Nothing has a default: what is left out does not happen; without suspend_below a suspension by
    rule stays until somebody releases it. 503 where a training is named and nobody can train at
    present."""
    with service.database.read() as session:
        known(service, session, model)
    _check(service, model, settings)
    new = watches.put(service.database, model, settings, by=who.user_id)
    if settings.suspend_below is None:
        with service.database.write() as session:
            suspensions.unruled(session, service.settings, model)
    return watched_shown(new, who)


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
        suspensions.unruled(session, service.settings, model)  # to whom the watch still names
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
        known(service, session, model)
        return _found(session, model, kind, limit=limit, before=before)


@router.get("/subgroups", summary="Scores by sex and age", responses=errors(401, 403, 404, 422))
def subgroups(service: Running, who: Member, model: Name) -> BySubgroup:
    """Of the latest evaluation, with how many persons and segments each group has."""
    with service.database.read() as session:
        known(service, session, model)
        settings = watches.current(session, model)
        latest = _latest(session, model, monitor.PERFORMANCE, settings)
    result = latest.result if latest else {}
    test, newest = ((result.get(part) or {}).get("subgroups") for part in ("test", "newest"))
    return BySubgroup(evaluation=latest.id if latest else None, test=test, newest=newest)


@router.post(
    "/evaluate",
    status_code=202,
    summary="Evaluate a model now",
    responses=errors(401, 403, 404, 409, 422, 429),
)
def evaluate(service: Running, who: Member, model: Name, given: Newest | None = None) -> Started:
    """As a job: on the test part, the newest labelled recordings and the feedback. A request
    without a body asks for as many as the watch says, and counts as a scheduled one does: it may
    suspend the model, or release it. Of another number it is kept and shown, and has no
    consequence. 409 while another one that was asked for is under way."""
    return _started(service, who, model, monitor.EVALUATION, given)


@router.post(
    "/drift",
    status_code=202,
    summary="Look for drift now",
    responses=errors(401, 403, 404, 409, 422, 429),
)
def drift(service: Running, who: Member, model: Name, given: Newest | None = None) -> Started:
    """As a job: compares the newest recordings that were answered with the reference, as the test
    part of the model's own run. Of another number than the watch says it is shown and not told by
    mail. 409 while another one that was asked for is under way."""
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
        known(service, session, model)
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


def _started(
    service: Service, who: Principal, model: str, kind: str, given: Newest | None
) -> Started:
    with service.database.write() as session:
        known(service, session, model)
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


def _check(service: Service, model: str, settings: watches.Settings) -> None:
    """Refuse a metric that the model's classes do not have, and a training that cannot be."""
    card = next((one.card for one in service.models if one.name == model), None)
    if card is None:  # of what cannot answer at present
        with service.database.read() as session:
            version = registry.production(session, model)
        if version is None:
            raise InputError(f"{model}: no version is in production: promote one, then watch it")
        card = registry.predictor(service.settings, version).card
    promote = settings.promote.metric if settings.promote else settings.metric
    names = watches.metrics(card.classes)
    for name in (settings.metric, promote):
        if name not in names:
            raise InputError(f"metric {name}: not known of {model}; it has {', '.join(names)}")
    if settings.retrain is not None:
        asked = settings.retrain.training
        if asked.model not in (None, model):
            raise InputError(f"retrain.training.model: {asked.model} is not {model}: leave it out")
        trainings.check(service.settings, asked.model_copy(update={"model": model}))


def _latest(
    session: Session, model: str, kind: str, plan: watches.Settings | watches.Drift | None
) -> Found | None:
    """What counts, or where nothing is planned, the latest of all."""
    if plan is None:
        return next(iter(_found(session, model, kind)), None)
    row = monitor.counted(session, model, kind, plan.newest)
    return _shown(session, [row])[0] if row else None


def _found(session: Session, model: str, kind: str | None, **options: Any) -> list[Found]:
    return _shown(session, monitor.found(session, model, kind, **options))


def _shown(session: Session, rows: Sequence[Evaluation]) -> list[Found]:
    ids = {row.version_id for row in rows}
    chosen = select(Version.id, Version.number).where(Version.id.in_(ids))
    numbers = {row.id: row.number for row in session.execute(chosen)}
    return [found_shown(row, numbers[row.version_id]) for row in rows]
