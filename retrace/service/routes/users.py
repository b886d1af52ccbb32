"""Accounts: one's own, and for admins everybody's."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from retrace.service import accounts
from retrace.service.access import Admin, Anybody, Person
from retrace.service.problems import errors
from retrace.service.routes.auth import ACCOUNT, Account, Password
from retrace.service.state import Running
from retrace.service.tables import ID

router = APIRouter(prefix="/users", tags=["accounts"])
Id = Annotated[str, Path(pattern=ID, description="of the account", examples=[ACCOUNT["id"]])]


class NewPassword(BaseModel):
    """password: the present one."""

    model_config = ConfigDict(extra="forbid")
    password: Password
    new_password: Password


class Changes(BaseModel):
    """What to change; what is left out stays. role: null takes it away. active: false logs the
    account out and keeps it out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "staff"}})
    role: Literal["staff", "data_scientist", "admin"] | None = None
    active: bool = Field(True, strict=True)


@router.get("/me", summary="See your account", response_model=Account, responses=errors(401, 503))
def me(service: Running, who: Anybody) -> object:
    """Your account, by a token or a key; its role says what you may do."""
    return accounts.find(service, who.user_id)


@router.patch(
    "/me",
    status_code=204,
    summary="Change your password",
    responses=errors(401, 403, 409, 422, 429, 503),
)
def change_me(service: Running, who: Person, body: NewPassword) -> None:
    """Sets a new password. Your other logins end; this one and your API keys stay."""
    accounts.change_password(service, who, body.password, body.new_password)


@router.delete(
    "/me", status_code=204, summary="Delete your account", responses=errors(401, 403, 409, 503)
)
def delete_me(service: Running, who: Person) -> None:
    """Deletes your account with all that you uploaded and were answered. The audit log keeps the
    number of the account."""
    accounts.remove(service, who, who.user_id)


@router.get(
    "", summary="List accounts", response_model=list[Account], responses=errors(401, 403, 422, 503)
)
def listed(
    service: Running,
    who: Admin,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(pattern=ID, description="behind this account")] = None,
) -> object:
    """All accounts, the oldest first."""
    return accounts.page(service, limit, after)


@router.get(
    "/{id}",
    summary="See an account",
    response_model=Account,
    responses=errors(401, 403, 404, 422, 503),
)
def shown(service: Running, who: Admin, id: Id) -> object:
    """An account."""
    return accounts.find(service, id)


@router.patch(
    "/{id}",
    summary="Give a role, switch on or off",
    response_model=Account,
    responses=errors(401, 403, 404, 409, 422, 503),
)
def change(service: Running, who: Admin, id: Id, body: Changes) -> object:
    """Changes hold at once, for tokens that are already out as well. 409 where no active admin
    would be left."""
    return accounts.change(service, who, id, body.model_dump(exclude_unset=True))


@router.delete(
    "/{id}",
    status_code=204,
    summary="Delete an account",
    responses=errors(401, 403, 404, 409, 422, 503),
)
def delete(service: Running, who: Admin, id: Id) -> None:
    """Deletes an account with all that it uploaded and was answered; 409 for the last admin."""
    accounts.remove(service, who, id)
