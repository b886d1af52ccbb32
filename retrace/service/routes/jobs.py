"""Jobs: what became of work that outlasts a request."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from retrace.service import audit, jobs, monitor, trainings
from retrace.service.access import Member, Principal
from retrace.service.problems import Problem, errors
from retrace.service.routes import answers
from retrace.service.state import Running
from retrace.service.tables import ID, Job, Prediction

router = APIRouter(prefix="/jobs", tags=["jobs"])
Id = Annotated[str, Path(pattern=ID, description="as POST answered it")]
State = Literal["queued", "running", "done", "failed", "cancelled"]
EXAMPLE: JsonDict = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "kind": "recording",
    "recording": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
    "state": "running",
    "progress": 0.25,
    "error": None,
    "created": "2026-01-02T03:04:05Z",
    "finished": None,
}


class Shown(BaseModel):
    """A job as it is answered. progress: from 0 to 1; error: why it failed."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE}, from_attributes=True)
    id: str
    kind: str
    recording: str | None = Field(validation_alias="recording_id")
    state: State
    progress: float
    error: str | None
    created: datetime
    finished: datetime | None


@router.get("", summary="List jobs", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Member,
    state: Annotated[State | None, Query(description="of this state alone")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this job")] = None,
) -> list[Shown]:
    """Your jobs, the newest first. All see evaluations and looks for drift, staff the jobs of all
    recordings, data scientists and admins the trainings that the service began itself."""
    chosen = select(Job).where(_seen_by(who)).order_by(Job.id.desc()).limit(limit)
    if state:
        chosen = chosen.where(Job.state == state)
    if before:
        chosen = chosen.where(Job.id < before)
    with service.database.read() as session:
        return [_shown(job) for job in session.scalars(chosen)]


@router.get("/{id}", summary="How far a job is", responses=errors(401, 403, 404, 422))
def shown(service: Running, who: Member, id: Id) -> Shown:
    """State and progress of a job. A job whose worker died is taken up by another one within
    seconds, and fails after three attempts."""
    with service.database.read() as session:
        return _shown(_found(session, who, id))


@router.get(
    "/{id}/result",
    summary="What came of a job",
    responses=errors(401, 403, 404, 409, 410, 422)
    | {200: {"content": {"application/json": {"example": answers.EXAMPLE}}}},
)
def result(service: Running, who: Member, id: Id) -> Response:
    """The answer for the recording, as GET /predictions/{id} gives it, or what the training gave.

    409 while the job waits or runs. It will never have a result if it failed (422, and why), if it
    was cancelled, or if its prediction was deleted since (410).
    """
    with service.database.read() as session:
        job = _found(session, who, id)
        if job.state == "failed":
            raise Problem(422, job.error or "failed")
        if job.state == "cancelled":
            raise Problem(410, f"job {id}: cancelled; it has no result: ask for it anew")
        if job.state != "done":
            raise Problem(409, f"job {id}: {job.state}; it has no result yet: ask again later")
        given = job.result or {}
        if "prediction" not in given:
            return Response(json.dumps(given), media_type="application/json")
        prediction = session.get(Prediction, given["prediction"])
        if prediction is None:
            raise Problem(410, f"job {id}: its prediction was deleted: ask for it anew")
        return Response(prediction.answer, media_type="application/json")


@router.delete(
    "/{id}", status_code=204, summary="Cancel a job", responses=errors(401, 403, 404, 409, 422)
)
def cancelled(service: Running, who: Member, id: Id) -> None:
    """End a job of yours that waits or runs; nothing of it is kept. Of those that the service began
    itself data scientists end trainings, staff the rest, and admins all; they also end anybody's
    training, for one runs at a time. 409 where it has ended."""
    with service.database.write() as session:
        job = _found(session, who, id, lock=True)
        if not _ends(who, job):
            raise Problem(403, f"job {id}: not yours; whoever asked for it can cancel it")
        if job.state not in jobs.OPEN:
            raise Problem(409, f"job {id}: {job.state}; only one that waits or runs is cancelled")
        jobs.cancel(job)
        audit.record(session, "job.cancel", by=who.user_id, subject=id)


def _seen_by(who: Principal) -> Any:
    mine = Job.user_id == who.user_id
    others = Job.kind == "recording" if who.role == "staff" else Job.user_id.is_(None)
    kinds = (*monitor.KINDS, trainings.KIND) if who.role == "admin" else monitor.KINDS
    return or_(mine, others, Job.kind.in_(kinds))


def _ends(who: Principal, job: Job) -> bool:
    """Whether they may: of the service's own, monitoring is the staff's."""
    if job.user_id is not None:
        trains = who.role == "admin" and job.kind == trainings.KIND
        return trains or job.user_id == who.user_id
    return who.role == "admin" or (who.role == "staff") == (job.kind in monitor.KINDS)


def _found(session: Session, who: Principal, id: str, *, lock: bool = False) -> Job:
    """The job; Problem 404 where there is none that `who` may see."""
    chosen = select(Job).where(Job.id == id, _seen_by(who))
    job = session.scalar(chosen.with_for_update() if lock else chosen)
    if job is None:
        raise Problem(404, f"job {id}: there is none, or it is not yours: GET /jobs lists yours")
    return job


def _shown(job: Job) -> Shown:
    return Shown.model_validate(job)
