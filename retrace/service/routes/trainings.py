"""Trainings: the pipeline on chosen params, as a job."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict
from sqlalchemy import or_, select

from retrace.service import trainings
from retrace.service.access import Scientist
from retrace.service.problems import Problem, errors
from retrace.service.ratelimit import limited
from retrace.service.state import Running
from retrace.service.tables import ID, Job
from retrace.service.training import Asked

router = APIRouter(prefix="/trainings", tags=["trainings"])
JOB: JsonDict = {"job": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5"}

TRAINING: JsonDict = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "recipe": "mitdb_ds1_ds2",
    "params": {"lr": 0.05},
    "model": "mitdb_ds1_ds2",
    "data": "all",
    "why": "",
    "scheduled": False,
    "state": "done",
    "progress": 1.0,
    "error": None,
    "version": 2,
    "result": {
        "validation": {"best_epoch": 9, "val_f1_macro": 0.87},
        "test": {"f1_macro": 0.61},
        "weights": "2a73d6f50a4237c3cb3117344d287685dbd1182727e84851da5b18768fb2511f",
        "commit": "d4506ed36d17a7cd16949d806205768cd2907fd3",
        "dvc.lock": "schema: '2.0'...",
        "data": {"recordings": ["0199f1d6a1b24b8f3a52c1d9e0f7a6b4"], "persons": 1},
        "version": 2,
        "promoted": False,
        "rule": "The staff have set no rule by which a candidate is promoted.",
    },
    "created": "2026-01-02T03:04:05Z",
    "finished": "2026-01-02T03:24:05Z",
}


class Started(BaseModel):
    """The job that does it."""

    model_config = ConfigDict(json_schema_extra={"example": JOB})
    job: str


class Brief(BaseModel):
    """A training in the list. progress: from 0 to 1. version: its number in the registry, once it
    is done. scheduled: the service began it itself, and `why` says why."""

    model_config = ConfigDict(
        json_schema_extra={"example": {k: v for k, v in TRAINING.items() if k != "result"}}
    )
    id: str
    recipe: str | None
    params: dict[str, Any]
    model: str | None = None
    data: str = "recipe"
    why: str = ""
    scheduled: bool = False
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float
    error: str | None
    version: int | None = None
    created: datetime
    finished: datetime | None


class Shown(Brief):
    """A training as it is answered. result: "validation" and "test" (scores of its own run),
    "weights" and "file" (their SHA-256), "commit", "dvc.lock", "data" (what it was trained on),
    "version", "comparison" (with what was in production), "promoted" and "rule" (why, or why not);
    null until then."""

    model_config = ConfigDict(json_schema_extra={"example": TRAINING})
    result: dict[str, Any] | None


@router.post(
    "",
    status_code=202,
    summary="Train a model",
    dependencies=[Depends(limited("train"))],
    responses=errors(401, 403, 422, 429, 503),
)
def started(service: Running, who: Scientist, asked: Asked) -> Started:
    """Run the pipeline on a recipe with your changes, compare the model with the one in production,
    and register it as a version. It goes into production only when you say so, or by a rule of the
    staff; its test score is shown, and decides nothing. One training runs at a time, the others
    wait. The params are checked before anything is queued, and kept. 422 also where there is too
    little to learn from; 503 where neither this process can train nor a trainer answers.
    """
    form = trainings.check(service.settings, asked)
    with service.database.read() as session:  # where too little is there, it looks at everything
        trainings.enough(session, asked, form)
    with service.database.write() as session:
        return Started(job=trainings.submit(session, who, service.settings, asked, form=form).id)


@router.get("", summary="List trainings", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Scientist,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this one")] = None,
) -> list[Brief]:
    """The newest first. Data scientists see their own and the service's, admins all."""
    wanted = select(Job).where(Job.kind == trainings.KIND).order_by(Job.id.desc()).limit(limit)
    if who.role != "admin":
        wanted = wanted.where(or_(Job.user_id == who.user_id, Job.user_id.is_(None)))
    if before:
        wanted = wanted.where(Job.id < before)
    with service.database.read() as session:
        return [Brief(**_said(job)) for job in session.scalars(wanted)]


@router.get("/{id}", summary="How far a training is", responses=errors(401, 403, 404, 422))
def shown(
    service: Running,
    who: Scientist,
    id: Annotated[str, Path(pattern=ID, description="the job")],
) -> Shown:
    """What was asked, how far it is, and what came of it: the version that was registered, its
    scores, and how it compares with what was in production. Data scientists see their own and the
    service's, admins all. DELETE /jobs/ID cancels it."""
    with service.database.read() as session:
        job = session.get(Job, id)
    if (
        job is None
        or job.kind != trainings.KIND
        or (who.role != "admin" and job.user_id not in (who.user_id, None))
    ):
        raise Problem(404, f"training {id}: there is none, or it is not yours")
    return Shown(**_said(job))


def _said(job: Job) -> dict[str, Any]:
    asked = {name: job.request[name] for name in Brief.model_fields if name in job.request}
    said = {name: getattr(job, name) for name in Shown.model_fields if hasattr(job, name)}
    if job.result:
        said["version"] = job.result.get("version")
    return asked | said | {"scheduled": job.user_id is None}
