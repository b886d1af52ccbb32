"""Registering, logging in and out, and forgotten passwords."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from retrace.service import accounts, logins, resets
from retrace.service.access import Person
from retrace.service.problems import Said, errors
from retrace.service.ratelimit import address, limited
from retrace.service.state import Running

router = APIRouter(prefix="/auth", tags=["accounts"])
LIMITED = [Depends(limited("login"))]
ASKED = "if this address has an account, a mail with a token is on its way"
ACCOUNT: JsonDict = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "email": "nurse@example.org",
    "role": None,
    "active": True,
    "created": "2026-01-02T03:04:05Z",
}
TOKENS: JsonDict = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJ…",
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_token": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5.Xb1…",
}
Email = Annotated[str, Field(min_length=3, max_length=254, examples=["nurse@example.org"])]
# Its rules are checked behind it, in one sentence; here it is only kept short.
Password = Annotated[str, Field(max_length=1024, examples=["four words in a row"])]


class Account(BaseModel):
    """An account. role: staff, data_scientist, admin, or null until an admin gives one."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": ACCOUNT})
    id: str
    email: str
    role: str | None
    active: bool
    created: datetime


class Tokens(BaseModel):
    """expires_in: seconds for which the access token is good."""

    model_config = ConfigDict(json_schema_extra={"example": TOKENS})
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str


class Credentials(BaseModel):
    """An address and the password that goes with it."""

    model_config = ConfigDict(extra="forbid")
    email: Email
    password: Password


class PasswordForm(BaseModel):
    """The form of the OAuth2 password flow; what it has beyond name and password is not used."""

    model_config = ConfigDict(extra="forbid")
    username: Annotated[str, Field(max_length=254, examples=["nurse@example.org"])]
    password: Password
    grant_type: Annotated[str, Field(pattern="^password$")] = "password"
    scope: Annotated[str, Field(max_length=100)] = ""
    client_id: Annotated[str | None, Field(max_length=100)] = None
    client_secret: Annotated[str | None, Field(max_length=100)] = None


class Refresh(BaseModel):
    """The refresh token of the last answer."""

    model_config = ConfigDict(extra="forbid")
    refresh_token: Annotated[str, Field(max_length=4096, examples=[TOKENS["refresh_token"]])]


class Forgotten(BaseModel):
    """The address of the account."""

    model_config = ConfigDict(extra="forbid")
    email: Email


class Reset(BaseModel):
    """What came by mail, and the new password."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(max_length=200, examples=["Xb1nN3…"])]
    password: Password


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    response_model=Account,
    dependencies=LIMITED,
    responses=errors(409, 422, 429, 503),
)
def register(service: Running, request: Request, body: Credentials) -> object:
    """A new account. It sees itself alone until an admin gives it a role (PATCH /users/ID).

    A password has 12 to 256 characters of any kind; the commonest ones and the
    address itself are refused (422), and so is an address that has an account (409).
    """
    return accounts.register(service, body.email, body.password, address(request))


@router.post(
    "/token",
    summary="Log in",
    dependencies=LIMITED,
    responses=errors(401, 422, 429, 503),
)
def token(service: Running, request: Request, form: Annotated[PasswordForm, Form()]) -> Tokens:
    """The OAuth2 password flow. Send the access token as `Authorization: Bearer …`; when it has
    expired, get the next one with the refresh token.

    An unknown address, a wrong password and an account that is switched off get the same answer.
    """
    pair = logins.begin(service, form.username, form.password, address(request))
    return _sent(service, pair)


@router.post(
    "/refresh",
    summary="Get the next tokens",
    dependencies=LIMITED,
    responses=errors(401, 422, 429, 503),
)
def refresh(service: Running, body: Refresh) -> Tokens:
    """A new pair of tokens; the refresh token that was sent is worth nothing any more. One that is
    sent again ends the login: somebody else may have it."""
    return _sent(service, logins.renew(service, body.refresh_token))


@router.post("/logout", status_code=204, summary="Log out", responses=errors(401, 403, 503))
def logout(service: Running, who: Person) -> None:
    """Ends the login of the access token; its refresh token ends with it."""
    logins.end(service, who)


@router.post(
    "/forgot",
    status_code=202,
    summary="Ask for a new password",
    dependencies=LIMITED,
    responses=errors(422, 429, 503)
    | {202: {"content": {"application/json": {"example": {"detail": ASKED}}}}},
)
def forgot(service: Running, request: Request, body: Forgotten) -> Said:
    """Mails a token that is good for an hour. The answer is the same whether or not there is such
    an account, and where it was asked so often for it that nothing more is mailed."""
    resets.ask(service, body.email, address(request))
    return Said(detail=ASKED)


@router.post(
    "/reset",
    status_code=204,
    summary="Set a new password",
    dependencies=LIMITED,
    responses=errors(422, 429, 503),
)
def reset(service: Running, request: Request, body: Reset) -> None:
    """Sets a new password with the token of the mail, once. All logins of the account end, and its
    API keys are deleted: who resets a password may have lost the account to somebody."""
    resets.use(service, body.token, body.password, address(request))


def _sent(service: Running, pair: logins.Pair) -> Tokens:
    seconds = int(service.settings.access_minutes * 60)
    return Tokens(access_token=pair.access, expires_in=seconds, refresh_token=pair.refresh)
