"""Monitoring: evaluations and looks for drift, done as jobs, and what follows from them."""

import math
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from retrace.service import drifts, evaluations, jobs, registry, suspensions, watches
from retrace.service.access import Principal
from retrace.service.jobs import Result
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Job
from retrace.service.tables_models import Evaluation
from retrace.service.worktree import Progress

EVALUATION, DRIFT = "evaluation", "drift"  # kinds of jobs
PERFORMANCE, TRIGGER = "performance", "trigger"  # kinds of what is found, beside DRIFT


def submit(
    session: Session,
    who: Principal | None,
    kind: str,
    model: str,
    newest: int,
    why: str = "",
    **more: Any,
) -> Job:
    """Queue an evaluation or a look for drift, or find the one that is open: there is one of each
    kind and model.

    newest: so many recordings. who: None where the service asks. more: of the request. Problem 404
    where no version of the model is in production.
    """
    registry.alone(session, model)
    if registry.production(session, model) is None:
        raise Problem(404, f"{model}: no version is in production: GET /registry lists the models")
    if found := open_job(session, kind, model):
        return found
    request = {"model": model, "newest": newest, "why": why, **more}
    return jobs.submit(session, who, kind, request)


def due(session: Session, model: str, why: str = "") -> Job | None:
    """Queue an evaluation behind a promotion; None where the model is not watched. It is a new one
    even beside another, which may look at the version that was in production until now."""
    settings = watches.current(session, model)
    if settings is None:
        return None
    request = {"model": model, "newest": settings.newest, "why": why}
    return jobs.submit(session, None, EVALUATION, request)


def open_job(session: Session, kind: str, model: str) -> Job | None:
    """A job of this kind and model that waits or runs."""
    chosen = _jobs(kind, model).where(Job.state.in_(jobs.OPEN)).limit(1)
    return session.scalar(chosen)


def last_job(session: Session, kind: str, model: str) -> Job | None:
    """The newest job of this kind and model, whatever became of it."""
    return session.scalar(_jobs(kind, model).order_by(Job.id.desc()).limit(1))


def end(session: Session, model: str) -> None:
    """Cancel what the service itself waits for of a model, whose watch has ended."""
    for kind in (EVALUATION, DRIFT):
        waiting = _jobs(kind, model).where(Job.state.in_(jobs.OPEN), Job.user_id.is_(None))
        for job in session.scalars(waiting.with_for_update()):
            jobs.cancel(job)


def found(
    session: Session, model: str, kind: str | None, *, limit: int = 1, before: str | None = None
) -> list[Evaluation]:
    """What was found of a model, the newest first. kind: None for all. before: older than this."""
    chosen = select(Evaluation).where(Evaluation.model == model).order_by(Evaluation.id.desc())
    if kind is not None:
        chosen = chosen.where(Evaluation.kind == kind)
    if before is not None:
        chosen = chosen.where(Evaluation.id < before)
    return list(session.scalars(chosen.limit(limit)))


def evaluate(service: Service, job: Job, progress: Progress) -> Result:
    """The handler of EVALUATION, see `worker.HANDLERS`: what was found is stored with its verdict,
    which may suspend the model, or release it."""
    model = job.request["model"]
    result = evaluations.evaluate(service, model, newest=job.request["newest"], progress=progress)

    def keep(session: Session) -> dict[str, Any]:
        kept = _kept(session, model, PERFORMANCE, result, job)
        registry.alone(session, model)
        in_production = registry.production(session, model)
        if in_production is not None and in_production.id == kept.version_id:
            _judge(session, service, model, result)
        return {"evaluation": kept.id}

    return keep


def look_for_drift(service: Service, job: Job, progress: Progress) -> Result:
    """The handler of DRIFT: what was found is stored, and told where it is another than before.

    Where the request says "adopt", the first answers become the reference instead.
    """
    model = job.request["model"]
    if job.request.get("adopt"):
        return drifts.adopt(service, model, first=job.request["newest"], progress=progress)
    result = drifts.look(service, model, newest=job.request["newest"], progress=progress)

    def keep(session: Session) -> dict[str, Any]:
        before = found(session, model, DRIFT)
        kept = _kept(session, model, DRIFT, result, job)
        same_version = before and before[0].version_id == kept.version_id
        old = _drifted(before[0].result) if same_version else set()
        new = _drifted(result)
        if watches.row(session, model) and (new - old or (old and not new)):
            subject = f"drift in {', '.join(sorted(new))}" if new else "the drift is over"
            watches.tell(session, service.settings, model, subject, str(result["sentence"]))
        return {"evaluation": kept.id}

    return keep


def verdict(settings: watches.Settings, result: dict[str, Any]) -> tuple[float | None, str]:
    """The watched metric on the newest labelled data, None where there is too little of it; and
    that in words. result: of an evaluation."""
    newest = result.get("newest") or {}
    if "missing" in newest:
        return None, str(newest["missing"])
    segments = newest.get("segments", 0)
    if segments < settings.least:
        return None, (
            f"no verdict: {segments} segments of labelled data, and the staff ask for at least "
            f"{settings.least}"
        )
    score = newest.get("scores", {}).get(settings.metric) or {}
    value = score.get("value")
    if value is None or not math.isfinite(value):
        return (
            None,
            f"no verdict: {settings.metric} does not follow from the classes that are there",
        )
    interval = ""
    if score.get("low") is not None and score.get("high") is not None:
        interval = f" [{score['low']:.3f}, {score['high']:.3f}]"
    return value, (
        f"{settings.metric} on the newest labelled data is {value:.3f}{interval} ({segments} "
        f"segments of {newest.get('persons')} persons)"
    )


def _judge(session: Session, service: Service, model: str, result: dict[str, Any]) -> None:
    """Suspend the model, or release it, by the staff's rule where there is one."""
    settings = watches.current(session, model)
    if settings is None or settings.suspend_below is None:
        return
    value, words = verdict(settings, result)
    if value is None:
        return
    limit, suspended = settings.suspend_below, suspensions.current(session, model)
    if value < limit and suspended is None:
        reason = f"{words}, below the staff's limit {limit:g}"
        suspensions.suspend(session, service.settings, model, reason, by=None, ruled=True)
    elif value >= limit and suspended is not None and suspended.ruled:
        reason = f"{words}, no longer below the staff's limit {limit:g}"
        suspensions.release(session, service.settings, model, reason, by=None)


def _kept(session: Session, model: str, kind: str, result: dict[str, Any], job: Job) -> Evaluation:
    """Store what was found of the version that the result names."""
    version = registry.version(session, model, result["version"])
    new = Evaluation(
        model=model,
        version_id=version.id,
        kind=kind,
        result=result | {"why": job.request.get("why", "")},
    )
    session.add(new)
    session.flush()
    return new


def _drifted(result: dict[str, Any]) -> set[str]:
    return {row["name"] for row in result.get("rows", ()) if row["drifted"]}


def _jobs(kind: str, model: str) -> Select[Job]:
    return select(Job).where(Job.kind == kind, Job.request["model"].as_string() == model)
