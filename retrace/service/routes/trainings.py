"""Trainings: the pipeline on chosen params, as a job."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from retrace.service import audit, jobs, trainings
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
    "recipe": "synthetic",
    "params": {"lr": 1e-4, "epochs": 10},
    "state": "done",
    "progress": 1.0,
    "error": None,
    "result": {
        "validation": {"best_epoch": 9, "val_f1_macro": 0.87},
        "weights": "2a73d6f50a4237c3cb3117344d287685dbd1182727e84851da5b18768fb2511f",
        "commit": "d4506ed36d17a7cd16949d806205768cd2907fd3",
        "dvc.lock": "schema: '2.0'...",
    },
    "created": "2026-01-02T03:04:05Z",
    "finished": "2026-01-02T03:24:05Z",
}


class Started(BaseModel):
    """The job that does it."""

    model_config = ConfigDict(json_schema_extra={"example": JOB})
    job: str


class Shown(BaseModel):
    """A training as it is answered. progress: the share of the stages that are done. result:
    "validation" (the scores), "weights" (their SHA-256), "commit", "dvc.lock"; null until then."""

    model_config = ConfigDict(json_schema_extra={"example": TRAINING})
    id: str
    recipe: str | None
    params: dict[str, Any]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float
    error: str | None
    result: dict[str, Any] | None
    created: datetime
    finished: datetime | None


@router.post(
    "",
    status_code=202,
    summary="Train a model",
    dependencies=[Depends(limited("train"))],
    responses=errors(401, 403, 422, 429, 503),
)
def started(service: Running, who: Scientist, asked: Asked) -> Started:
    """Run the pipeline on a recipe with your changes, up to the model file; the test part stays
    closed. One training runs at a time, the others wait. The params are checked before anything
    is queued, and kept. 503 where neither this process can train nor a trainer answers.
    """
    trainings.check(service.settings, asked)
    with service.database.write() as session:
        job = jobs.submit(session, who, trainings.KIND, asked.model_dump())
        audit.record(session, "training.start", by=who.user_id, subject=job.id, recipe=asked.recipe)
    return Started(job=job.id)


@router.get("/{id}", summary="How far a training is", responses=errors(401, 403, 404, 422))
def shown(
    service: Running,
    who: Scientist,
    id: Annotated[str, Path(pattern=ID, description="the job")],
) -> Shown:
    """What was asked, how far it is, and what came of it. Data scientists see their own, admins
    all. DELETE /jobs/ID cancels it."""
    with service.database.read() as session:
        job = session.get(Job, id)
    if (
        job is None
        or job.kind != trainings.KIND
        or (who.role != "admin" and job.user_id != who.user_id)
    ):
        raise Problem(404, f"training {id}: there is none, or it is not yours")
    said = {name: getattr(job, name) for name in Shown.model_fields if hasattr(job, name)}
    return Shown(**said, **job.request)
