"""What was answered: listed, shown again, deleted."""

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import load_only

from retrace.service import audit
from retrace.service.access import Member
from retrace.service.predictions import seen_by, told, visible
from retrace.service.problems import Problem, errors
from retrace.service.routes.answers import Answered
from retrace.service.routes.asked import TEXT
from retrace.service.state import Running
from retrace.service.tables import ID, Feedback, Prediction

router = APIRouter(prefix="/predictions", tags=["predictions"])
Id = Annotated[str, Path(pattern=ID, description="as the answer gives it")]


class Listed(BaseModel):
    """A prediction in a list. kind: "beats", "segments", "samples", "recording" or "random".
    segments: how many. flagged: null where no rule applied."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
                "kind": "beats",
                "model": "mitdb_ds1_ds2_simple_cnn",
                "version": "7484c25add25",
                "recording": None,
                "segments": 1,
                "flagged": None,
                "truth": None,
                "created": "2026-01-02T03:04:05Z",
            }
        },
    )
    id: str
    kind: str
    model: str
    version: str
    recording: str | None = Field(validation_alias="recording_id")
    segments: int
    flagged: bool | None
    truth: str | None
    created: datetime


class WithFeedback(Answered):
    """The answer, and what staff said of it since."""

    feedback: list[dict[str, Any]]


COLUMNS = (
    Prediction.id,
    Prediction.kind,
    Prediction.model,
    Prediction.version,
    Prediction.recording_id,
    Prediction.segments,
    Prediction.flagged,
    Prediction.truth,
    Prediction.created,
)


@router.get("", summary="List predictions", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Member,
    model: Annotated[
        str | None, Query(max_length=100, pattern=TEXT, description="of this model alone")
    ] = None,
    kind: Annotated[
        str | None, Query(max_length=16, pattern=TEXT, description="of this kind alone")
    ] = None,
    recording: Annotated[str | None, Query(pattern=ID, description="of this recording")] = None,
    flagged: Annotated[bool | None, Query(description="flagged, or not")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this one")] = None,
) -> list[Listed]:
    """Your predictions, the newest first; staff see all."""
    chosen = select(Prediction).options(load_only(*COLUMNS)).where(seen_by(who))
    wanted = ((Prediction.model, model), (Prediction.kind, kind), (Prediction.flagged, flagged),
              (Prediction.recording_id, recording))  # fmt: skip
    for column, value in wanted:
        if value is not None:
            chosen = chosen.where(column == value)
    if before:
        chosen = chosen.where(Prediction.id < before)
    with service.database.read() as session:
        found = session.scalars(chosen.order_by(Prediction.id.desc()).limit(limit))
        return [Listed.model_validate(row) for row in found]


@router.get(
    "/{id}",
    summary="A prediction again",
    response_model=WithFeedback,
    responses=errors(401, 403, 404, 422),
)
def shown(service: Running, who: Member, id: Id) -> Response:
    """The answer as it was given, by the rules of that time, and the feedback on it."""
    with service.database.read() as session:
        found = told(visible(session, who, id))
        said = session.scalars(
            select(Feedback).where(Feedback.prediction_id == id).order_by(Feedback.id)
        )
        found["feedback"] = [
            {
                "id": one.id,
                "segment": one.segment,
                "answered": one.answered,
                "label": one.label,
                "comment": one.comment,
                "created": one.created,
            }
            for one in said
        ]
    return Response(orjson.dumps(found), media_type="application/json")


@router.delete(
    "/{id}", status_code=204, summary="Delete a prediction", responses=errors(401, 403, 404, 422)
)
def deleted(service: Running, who: Member, id: Id) -> None:
    """Remove a prediction of yours, with its alerts, its feedback and the signal that came with it.
    Admins remove anybody's."""
    with service.database.write() as session:
        row = session.get(Prediction, id) if who.role == "admin" else visible(session, who, id)
        if row is None:
            raise Problem(404, f"prediction {id}: there is none of this id")
        if who.role != "admin" and row.user_id != who.user_id:
            raise Problem(403, f"prediction {id}: not yours; who asked for it, or an admin, may")
        session.delete(row)
        audit.record(session, "prediction.delete", by=who.user_id, subject=id)
