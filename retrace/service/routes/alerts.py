"""Alerts: what was flagged, and who has looked at it."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from retrace.deploy.answers import word
from retrace.service import alerts, tables
from retrace.service.access import Staff
from retrace.service.problems import errors
from retrace.service.state import Running
from retrace.service.tables import ID

router = APIRouter(prefix="/alerts", tags=["alerts"])


class Shown(BaseModel):
    """An alert. level: whether single segments are flagged, or the recording as a whole. seen_by:
    the id of who looked at it first."""

    id: str
    prediction: str
    name: str = Field(serialization_alias="class")
    word: str
    level: Literal["segment", "recording"]
    reason: str
    created: datetime
    seen_by: str | None
    seen: datetime | None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
                "prediction": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
                "class": "V",
                "word": "Ventricular",
                "level": "recording",
                "reason": "V: 12 beats, rule: at least 10",
                "created": "2026-01-02T03:04:05Z",
                "seen_by": None,
                "seen": None,
            }
        },
    )


@router.get("", summary="List alerts", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Staff,
    unseen: Annotated[bool, Query(description="those alone that nobody has seen")] = False,
    name: Annotated[
        str | None,
        Query(
            alias="class",
            max_length=32,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="of this class alone",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this alert")] = None,
) -> list[Shown]:
    """Staff only. What was flagged by the rules, the newest first: one alert for each class and
    level of a prediction."""
    with service.database.read() as session:
        found = alerts.listed(session, unseen=unseen, name=name, limit=limit, before=before)
    return [_shown(row) for row in found]


@router.post("/{id}/seen", summary="Mark an alert as seen", responses=errors(401, 403, 404, 422))
def seen(service: Running, who: Staff, id: Annotated[str, Path(pattern=ID)]) -> Shown:
    """Staff only. Notes that you have looked at it, and when; whoever was first stays noted."""
    with service.database.write() as session:
        return _shown(alerts.see(session, id, by=who.user_id))


def _shown(row: tables.Alert) -> Shown:
    return Shown(
        id=row.id,
        prediction=row.prediction_id,
        name=row.name,
        word=word(row.name),
        level=row.level,  # type: ignore[arg-type]  # a string in the database
        reason=row.reason,
        created=row.created,
        seen_by=row.seen_by,
        seen=row.seen,
    )
