"""Feedback: staff confirm or correct what a model answered."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from retrace.service import feedback
from retrace.service.access import Allowed, Principal, Staff
from retrace.service.problems import errors
from retrace.service.state import Running
from retrace.service.tables import ID

router = APIRouter(tags=["feedback"])
MOST = 2**31 - 1  # the largest integer of a column


class Given(BaseModel):
    """What the answer should be. segment: its number, counted from 0 as in the answer; null: the
    recording as a whole. label: a class of the model that answered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"segment": 3, "label": "V", "comment": "wide QRS, no P wave"}
        },
    )
    segment: Annotated[int, Field(ge=0, le=MOST, strict=True)] | None = None
    label: str = Field(min_length=1, max_length=32)
    comment: str = Field("", max_length=2000, pattern=r"^[^\x00]*$")


class Shown(BaseModel):
    """What somebody said of an answer. agrees: the label is what was answered. counts: it is the
    latest on its segment. comment: null where you may not see the answer. by: the id of who said
    it, null where that account is gone."""

    id: str
    prediction: str
    model: str
    segment: int | None
    answered: str
    label: str
    agrees: bool
    counts: bool
    comment: str | None
    by: str | None
    created: datetime
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
                "prediction": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
                "model": "mitdb_ds1_ds2",
                "segment": 3,
                "answered": "N",
                "label": "V",
                "agrees": False,
                "counts": True,
                "comment": "wide QRS, no P wave",
                "by": "0199f1d6a1b24b8f3a52c1d9e0f7a6b3",
                "created": "2026-01-02T03:04:05Z",
            }
        },
    )


Reader = Annotated[Principal, Depends(Allowed("staff", "data_scientist"))]


@router.post(
    "/predictions/{id}/feedback",
    status_code=201,
    summary="Confirm or correct an answer",
    responses=errors(401, 403, 404, 422),
)
def given(service: Running, who: Staff, id: Annotated[str, Path(pattern=ID)], said: Given) -> Shown:
    """Staff only. A label that is what was answered confirms it, another one corrects it. Feedback
    is kept with the prediction; the latest on a segment counts, the earlier stays listed."""
    return Shown(**feedback.give(service.database, id, by=who.user_id, **said.model_dump()))


@router.get("/feedback", summary="List feedback", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Reader,
    model: Annotated[
        str | None,
        Query(max_length=100, pattern=r"^[^\x00]*$", description="to answers of this model alone"),
    ] = None,
    agrees: Annotated[
        bool | None, Query(description="true: confirmed answers; false: corrected ones")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this one")] = None,
) -> list[Shown]:
    """Staff and data scientists. All feedback, the newest first; for data scientists without the
    comments on answers that are not their own."""
    with service.database.read() as session:
        found = feedback.listed(
            session, who, model=model, agrees=agrees, limit=limit, before=before
        )
    return [Shown(**row) for row in found]
