"""API keys of one's own account."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from retrace.service import keys
from retrace.service.access import Anybody, Person
from retrace.service.problems import errors
from retrace.service.state import Running
from retrace.service.tables import ID

router = APIRouter(prefix="/keys", tags=["accounts"])
KEY: JsonDict = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "name": "Holter gateway",
    "created": "2026-01-02T03:04:05Z",
    "expires": None,
}
Id = Annotated[str, Path(pattern=ID, description="of the key", examples=[KEY["id"]])]


class Key(BaseModel):
    """A key, without its text. expires: null where it is good until it is deleted."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": KEY})
    id: str
    name: str
    created: datetime
    expires: datetime | None


class Made(Key):
    """A new key. key: its text, which is shown this once."""

    model_config = ConfigDict(json_schema_extra={"example": KEY | {"key": "rk_Xb1nN3…"}})
    key: str


class Wanted(BaseModel):
    """name: what it is for. days: how long it is good, null: until it is deleted."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "Holter gateway", "days": 90}}
    )
    # No control characters: PostgreSQL keeps no NUL.
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\P{C}+$")]
    days: Annotated[float | None, Field(gt=0, le=3650, allow_inf_nan=False)] = None


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    responses=errors(401, 403, 409, 422, 503),
)
def make(service: Running, who: Person, body: Wanted) -> Made:
    """A key for a machine: it sends the key as `X-API-Key` and acts with your role as it is then.
    A key makes no keys."""
    row, text = keys.make(service, who, body.name, body.days)
    return Made(id=row.id, name=row.name, created=row.created, expires=row.expires, key=text)


@router.get("", summary="List your keys", response_model=list[Key], responses=errors(401, 503))
def listed(service: Running, who: Anybody) -> object:
    """Your keys, the oldest first, without their text: that is stored nowhere."""
    return keys.mine(service, who)


@router.delete(
    "/{id}",
    status_code=204,
    summary="Delete a key",
    responses=errors(401, 403, 404, 422, 503),
)
def delete(service: Running, who: Person, id: Id) -> None:
    """The key stops at once. An admin may delete anybody's."""
    keys.remove(service, who, id)
