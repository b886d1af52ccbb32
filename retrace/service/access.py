"""Who asks, and what they may do: the dependencies that routes name."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
from fastapi import Depends, Request
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from sqlalchemy import or_, select

from retrace.service import tokens
from retrace.service.database import Database
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import ApiKey, Login, User, now

if TYPE_CHECKING:
    from retrace.service.state import Service

FRESH = 1.0  # s for which the state of an account is believed without asking the database
LARGEST = 10_000  # entries of each cache; a full one starts anew
KEY = re.compile(rb"rk_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Principal:
    """Who asks. role: of `tables.ROLES`, None where no admin has given one yet. login_id: of the
    access token's login, None for an API key."""

    user_id: str
    email: str
    role: str | None
    login_id: str | None


class Gate:
    """Who may come in. What it has just checked it knows for a second, without the database.

    `admit` belongs to the event loop; `forget` may be called from any thread.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._claims: dict[bytes, tokens.Claims] = {}  # by the SHA-256 of the token
        self._known: dict[str, tuple[float, Principal]] = {}  # by login, or digest of the key
        self._asked: dict[str, asyncio.Task[Principal | None]] = {}
        self._threads = anyio.CapacityLimiter(4)  # of its own: slow routes do not hold it up

    async def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Who sent these headers (names in lower case).

        Raises Problem (401) unless exactly one of them names somebody who is active, by a bearer
        token or an API key.
        """
        found = [pair for pair in headers if pair[0] in (b"authorization", b"x-api-key")]
        if len(found) != 1:
            raise tokens.refused()
        name, value = found[0]
        if name == b"authorization":
            scheme, _, value = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise tokens.refused()
        if KEY.fullmatch(value):
            who = await self._state(tokens.digest(value.decode()), self._by_key)
        elif name == b"authorization":
            claims = self._checked(value)
            who = await self._state(claims.login_id, self._by_login)
            if who is not None and who.user_id != claims.user_id:
                who = None
        else:
            who = None
        if who is None:
            raise tokens.refused()
        return who

    def forget(self) -> None:
        """Ask the database anew: an account, a login or a key has changed, and is committed."""
        self._known = {}  # what is being asked now still lands in the old one
        self._asked = {}

    def _checked(self, value: bytes) -> tokens.Claims:
        mark = hashlib.sha256(value).digest()
        claims = self._claims.get(mark)
        if claims is None:
            claims = tokens.check(self._settings, value.decode("latin-1"))
            if len(self._claims) >= LARGEST:
                self._claims.clear()
            self._claims[mark] = claims
        elif claims.expires + tokens.LEEWAY <= time.time():
            del self._claims[mark]
            raise tokens.refused()
        return claims

    async def _state(self, key: str, find: Callable[[str], Principal | None]) -> Principal | None:
        """The account behind `key`, None where there is none; all who wait ask once."""
        known = self._known.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key, find))
        return await asyncio.shield(task)

    async def _ask(self, key: str, find: Callable[[str], Principal | None]) -> Principal | None:
        known, asked, until = self._known, self._asked, time.monotonic() + FRESH
        try:
            who = await anyio.to_thread.run_sync(find, key, limiter=self._threads)
        finally:
            asked.pop(key, None)
        if who is not None:  # strangers are not remembered: they could fill the memory
            if len(known) >= LARGEST:
                known.clear()
            known[key] = (until, who)
        return who

    def _by_login(self, login_id: str) -> Principal | None:
        with self._database.read() as session:
            row = session.execute(
                select(User.id, User.email, User.role)
                .join(Login, Login.user_id == User.id)
                .where(Login.id == login_id, ~Login.revoked, Login.expires > now(), User.active)
            ).one_or_none()
        return row and Principal(row.id, row.email, row.role, login_id)

    def _by_key(self, digest: str) -> Principal | None:
        with self._database.read() as session:
            row = session.execute(
                select(User.id, User.email, User.role)
                .join(ApiKey, ApiKey.user_id == User.id)
                .where(ApiKey.digest == digest, User.active)
                .where(or_(ApiKey.expires.is_(None), ApiKey.expires > now()))
            ).one_or_none()
        return row and Principal(row.id, row.email, row.role, None)


async def principal(request: Request) -> Principal:
    """Who asks, by a bearer token or an API key; 401 where nobody valid does."""
    service: Service = request.app.state.service
    who = await service.gate.admit(request.scope["headers"])
    request.scope.setdefault("state", {})["user_id"] = who.user_id  # for the line in the log
    return who


class Allowed(SecurityBase):
    """A dependency that admits these roles, or all where none is named: 401 for nobody, 403 for
    other roles.

    login: only with the token of a login: a key must not outgrow who made it. One object in place
    of nested dependencies: FastAPI takes 10 us for each of them.
    """

    scheme_name = "account"
    model = OAuth2(
        flows=OAuthFlows(
            password=OAuthFlowPassword(tokenUrl="/auth/token", refreshUrl="/auth/refresh")
        ),
        description="The access token of a login; an API key may stand in its place, or be sent "
        "as X-API-Key.",
    )

    def __init__(self, *roles: str, login: bool = False) -> None:
        self.roles, self.login = roles, login

    async def __call__(self, request: Request) -> Principal:
        """Who asks, if they may."""
        who = await principal(request)
        if self.roles and who.role not in self.roles:
            raise Problem(403, f"this needs the role {' or '.join(self.roles)}: ask an admin")
        if self.login and who.login_id is None:
            raise Problem(403, "an API key does not do this: log in and send the access token")
        return who


Anybody = Annotated[Principal, Depends(Allowed())]
Person = Annotated[Principal, Depends(Allowed(login=True))]
MEMBER = Allowed("staff", "data_scientist", "admin")
Member = Annotated[Principal, Depends(MEMBER)]
Staff = Annotated[Principal, Depends(Allowed("staff"))]
Scientist = Annotated[Principal, Depends(Allowed("data_scientist", "admin"))]
Admin = Annotated[Principal, Depends(Allowed("admin"))]
