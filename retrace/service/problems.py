"""What is answered when something is wrong: a status and one sentence, `{"detail": ...}`."""

import errno
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from retrace.errors import InputError

FULL = "the disk is full; nothing was stored: free some space on the server and send it again"
AWAY = "the database does not answer; nothing was stored: send the request again later"
GONE = "what it belongs to was deleted meanwhile; nothing was stored: look what is still there"
# FastAPI would hand what was asked, and errors with what they quote, to any collector it finds.
SILENT = TelemetryConfig(
    tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False
)
WORDS = {
    400: "the request is malformed",
    401: "no valid token or key",
    403: "the role does not allow this",
    404: "not found",
    408: "the body came too slowly",
    409: "the state does not allow this",
    410: "there once was one; there will be none any more",
    413: "larger than the limit",
    415: "a media type that is not read",
    422: "a value that breaks a rule",
    429: "over the rate limit; see Retry-After",
    503: "not available at present; see Retry-After",
    507: "the disk is full",
}


# What the library tells users of the command, as a field of a request: --lead MLII is lead=MLII.
_OPTIONS = re.compile(r"--(lead|fs) ?\b")


class Problem(Exception):
    """An answer with an error status. detail: value, rule, remedy, in one sentence."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Said(BaseModel):
    """The body of every error."""

    detail: str


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may answer with these error codes, for its documentation."""
    return {
        code: {
            "model": Said,
            "description": WORDS[code],
            "content": {"application/json": {"example": {"detail": WORDS[code]}}},
        }
        for code in codes
    }


def install(app: FastAPI) -> None:
    """Let every error of the application end in one sentence."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(InputError, _input)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(OSError, _system)


def answer(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as it is sent."""
    return JSONResponse({"detail": detail}, status, headers)


async def _problem(request: Request, error: Any) -> JSONResponse:
    return answer(error.status, error.detail, error.headers)


async def _input(request: Request, error: Exception) -> JSONResponse:
    return answer(422, _OPTIONS.sub(r"\1=", str(error)))


async def _http(request: Request, error: Any) -> JSONResponse:
    return answer(error.status_code, str(error.detail), dict(error.headers or {}))


async def _invalid(request: Request, error: Any) -> JSONResponse:
    said = [
        f"{'.'.join(str(part)[:100] for part in problem['loc'][:6])}: {problem['msg']}"
        for problem in error.errors()[:10]
    ]
    return answer(422, "; ".join(said))  # the values stay out: they may be a signal


async def _database(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, DBAPIError) and full(error.orig):
        return answer(507, FULL)
    if isinstance(error, IntegrityError) and _orphaned(error.orig):
        return answer(409, GONE)
    if isinstance(error, PoolTimeout | OperationalError | InterfaceError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        return answer(503, AWAY, {"Retry-After": "5"})
    raise error


async def _system(request: Request, error: Exception) -> JSONResponse:
    if full(error):
        return answer(507, FULL)
    raise error


def full(error: BaseException | None) -> bool:
    """Whether this says that the disk is full: of a file, of SQLite or of PostgreSQL."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlstate", None) == "53100" or "disk is full" in str(error)


def _orphaned(error: BaseException | None) -> bool:
    """Whether this says that a row refers to one that is not there: of PostgreSQL or of SQLite."""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return code in ("23503", "SQLITE_CONSTRAINT_FOREIGNKEY")
