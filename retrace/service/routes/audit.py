"""The audit log, for admins."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from retrace.service import audit
from retrace.service.access import Admin
from retrace.service.problems import errors
from retrace.service.state import Running
from retrace.service.tables import ID

router = APIRouter(prefix="/audit", tags=["accounts"])
LINE: JsonDict = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "at": "2026-01-02T03:04:05Z",
    "user_id": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
    "action": "account.change",
    "subject": "0199f1d6a0014b8f3a52c1d9e0f7a6b3",
    "detail": {"new_role": "staff"},
}


class Line(BaseModel):
    """What was done. user_id: by whom, null: nobody who is known. subject: to what or whom."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": LINE})
    id: str
    at: datetime
    user_id: str | None
    action: str
    subject: str | None
    detail: dict[str, Any]


@router.get(
    "",
    summary="Read the audit log",
    response_model=list[Line],
    responses=errors(401, 403, 422, 503),
)
def listed(
    service: Running,
    who: Admin,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=ID, description="older than this line")] = None,
    user: Annotated[str | None, Query(pattern=ID, description="by or about this account")] = None,
    action: Annotated[str | None, Query(pattern=r"^[a-z._]{1,64}$", examples=["login"])] = None,
) -> object:
    """Who did what, the newest first. It holds no signal, password, token or key."""
    return audit.page(service, limit, before, user, action)
