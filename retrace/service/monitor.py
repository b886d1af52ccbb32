"""Monitoring: evaluations and looks for drift, done as jobs, and what follows from them."""

from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from retrace.service import drifts, evaluations, jobs, registry, verdicts, watches
from retrace.service.access import Principal
from retrace.service.jobs import Result
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Job
from retrace.service.tables_models import Evaluation
from retrace.service.worktree import Progress

EVALUATION, DRIFT = KINDS = "evaluation", "drift"  # kinds of jobs
PERFORMANCE, TRIGGER = "performance", "trigger"  # kinds of what is found, beside DRIFT
FAILED = "failed", "cancelled"
NAMES = {EVALUATION: "an evaluation", DRIFT: "a look for drift"}
MOST = 1000  # rows of a model and kind that are kept: daily ones of nearly three years
LOOKED = 200  # rows among which one is looked for that counts


def submit(
    session: Session,
    who: Principal | None,
    kind: str,
    model: str,
    newest: int,
    why: str = "",
    **more: Any,
) -> Job:
    """Queue an evaluation or a look for drift, or find the same that is open.

    Of each kind and model the service has one open, and all who ask have one between them: what
    somebody asks for takes nothing from what is scheduled.

    newest: so many recordings. who: None where the service asks. more: of the request. Problem 404
    where no version of the model is in production, 409 where another one was asked for.
    """
    registry.alone(session, model)
    if registry.production(session, model) is None:
        raise Problem(404, f"{model}: no version is in production: GET /registry lists the models")
    request = {"model": model, "newest": newest, "why": why, **more}
    for job in session.scalars(_jobs(kind, model).where(Job.state.in_(jobs.OPEN))):
        if who is None and job.user_id is not None:
            continue
        if job.request | {"why": why} == request:
            return job
        if who is not None and job.user_id is not None:
            raise Problem(
                409,
                f"{model}: {NAMES[kind]} of {job.request['newest']} recordings was asked for and "
                "is under way: ask again behind it",
            )
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


def last_job(session: Session, kind: str, model: str, newest: int | None = None) -> Job | None:
    """The last one that the service itself began, whatever became of it. newest: of so many
    recordings."""
    chosen = _jobs(kind, model).where(Job.user_id.is_(None)).order_by(Job.id.desc())
    if newest is not None:
        chosen = chosen.where(Job.request["newest"].as_integer() == newest)
    return session.scalar(chosen.limit(1))


def failing(session: Session, model: str) -> dict[str, str]:
    """Of each kind of job, what became of the last one of the service, where that is nothing."""
    found = {}
    for kind in KINDS:
        job = last_job(session, kind, model)
        if job is not None and job.state in FAILED:
            found[kind] = _ended(job)
    return found


def follow(service: Service, model: str) -> None:
    """Tell where the service's own jobs have begun to fail, or were cancelled: once until one
    succeeds."""
    for kind in KINDS:
        with service.database.read() as session:
            if _untold(session, kind, model) is None:
                continue
        with service.database.write() as session:
            registry.alone(session, model)
            if (job := _untold(session, kind, model)) is None:  # another worker told
                continue
            job.result = {"told": True}
            text = (
                f"Job {job.id}: {_ended(job)}.\n\nIt is tried again and again; until one succeeds "
                "the model is not monitored, and you are not told again."
            )
            watches.tell(session, service.settings, model, f"{NAMES[kind]} {job.state}", text)


def end(session: Session, model: str) -> None:
    """Cancel what the service itself waits for of a model, whose watch has ended."""
    for kind in KINDS:
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


def counted(session: Session, model: str, kind: str, newest: int) -> Evaluation | None:
    """The latest one of as many recordings as the watch says: only that has consequences, or
    whoever asks for another number could choose them."""
    for limit in (1, LOOKED):  # nearly always it is the latest of all
        for row in found(session, model, kind, limit=limit):
            if row.result.get("asked") == newest:
                return row
    return None


def evaluate(service: Service, job: Job, progress: Progress) -> Result:
    """The handler of EVALUATION, see `worker.HANDLERS`: what was found is stored, and judged where
    it is of the version in production."""
    model = job.request["model"]
    result = evaluations.evaluate(service, model, newest=job.request["newest"], progress=progress)

    def keep(session: Session) -> dict[str, Any]:
        kept = _kept(session, model, PERFORMANCE, result, job)
        registry.alone(session, model)
        in_production = registry.production(session, model)
        if in_production is not None and in_production.id == kept.version_id:
            verdicts.judge(session, service.settings, model, kept)
        return {"evaluation": kept.id}

    return keep


def look_for_drift(service: Service, job: Job, progress: Progress) -> Result:
    """The handler of DRIFT: what was found is stored; and where the watch asks for as many
    recordings, told if it is another than before.

    Where the request says "adopt", the first answers become the reference instead.
    """
    model, newest = job.request["model"], job.request["newest"]
    if job.request.get("adopt"):
        return drifts.adopt(service, model, first=newest, progress=progress)
    result = drifts.look(service, model, newest=newest, progress=progress)

    def keep(session: Session) -> dict[str, Any]:
        before = counted(session, model, DRIFT, newest)
        kept = _kept(session, model, DRIFT, result, job)
        same_version = before is not None and before.version_id == kept.version_id
        old = _drifted(before.result) if before and same_version else set()
        new = _drifted(result)
        watch = watches.current(session, model)
        asked = watch is not None and watch.drift is not None and watch.drift.newest == newest
        if asked and (new - old or (old and not new)):
            subject = f"drift in {', '.join(sorted(new))}" if new else "the drift is over"
            watches.tell(session, service.settings, model, subject, str(result["sentence"]))
        return {"evaluation": kept.id}

    return keep


def _kept(session: Session, model: str, kind: str, result: dict[str, Any], job: Job) -> Evaluation:
    """Store what was found of the version that the result names; of very many the oldest go."""
    version = registry.version(session, model, result["version"])
    new = Evaluation(
        model=model,
        version_id=version.id,
        kind=kind,
        result=result | {"why": job.request.get("why", ""), "asked": job.request["newest"]},
    )
    session.add(new)
    session.flush()
    same = (Evaluation.model == model, Evaluation.kind == kind)
    last = select(Evaluation.id).where(*same).order_by(Evaluation.id.desc()).offset(MOST).limit(1)
    if (old := session.scalar(last)) is not None:
        session.execute(delete(Evaluation).where(*same, Evaluation.id <= old))
    return new


def _drifted(result: dict[str, Any]) -> set[str]:
    return {row["name"] for row in result.get("rows", ()) if row["drifted"]}


def _untold(session: Session, kind: str, model: str) -> Job | None:
    """The first failure since one was done, or since the watch was set, where nobody was told."""
    watch = watches.row(session, model)
    mine = _jobs(kind, model).where(Job.user_id.is_(None))
    done = mine.where(Job.state == "done").order_by(Job.id.desc()).limit(1)
    if watch is None or (last := last_job(session, kind, model)) is None or last.state == "done":
        return None
    good = session.scalar(done)
    since = max(watch.id, good.id) if good else watch.id  # ids sort by time
    failed = mine.where(Job.id > since, Job.state.in_(FAILED)).order_by(Job.id).limit(1)
    first = session.scalar(failed)
    return first if first is not None and not first.result else None


def _ended(job: Job) -> str:
    return f"{job.state}: {job.error}" if job.error else job.state


def _jobs(kind: str, model: str) -> Select[Job]:
    return select(Job).where(Job.kind == kind, Job.request["model"].as_string() == model)
