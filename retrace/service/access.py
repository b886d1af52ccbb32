"""Who asks, and what they may do: the dependencies that routes name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from retrace.service.problems import Problem


@dataclass(frozen=True)
class Principal:
    """Who asks. role: of `tables.ROLES`, None where no admin has given one yet. login_id: of the
    access token's login, None for an API key."""

    user_id: str
    email: str
    role: str | None
    login_id: str | None


async def principal(request: Request) -> Principal:
    """Who asks, by a bearer token or an API key; 401 where nobody valid does."""
    raise Problem(401, "not built yet", WWW_Authenticate="Bearer")


Anybody = Annotated[Principal, Depends(principal)]


def require(*roles: str) -> Callable[..., Awaitable[Principal]]:
    """A dependency that admits these roles alone: 401 for nobody, 403 for others."""

    async def allowed(who: Anybody) -> Principal:
        if who.role not in roles:
            raise Problem(403, f"this needs the role {' or '.join(roles)}: ask an admin for it")
        return who

    return allowed


Member = Annotated[Principal, Depends(require("staff", "data_scientist", "admin"))]
Staff = Annotated[Principal, Depends(require("staff"))]
Scientist = Annotated[Principal, Depends(require("data_scientist", "admin"))]
Admin = Annotated[Principal, Depends(require("admin"))]
