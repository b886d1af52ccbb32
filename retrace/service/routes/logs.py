"""The logs of the service, for admins."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from retrace.service import logs_read
from retrace.service.access import Admin
from retrace.service.problems import errors
from retrace.service.state import Running

router = APIRouter(prefix="/logs", tags=["accounts"])
LINE = (
    "2026-01-02 03:04:05,678 - retrace.service.registry - INFO - model mitdb_ds1_ds2: version 2 in "
    "production"
)
READ: JsonDict = {"name": "app", "lines": [LINE], "whole": True}


class Read(BaseModel):
    """The end of a log. lines: the newest last. whole: false where there may be older ones that
    match: ask for more, or read the file."""

    model_config = ConfigDict(json_schema_extra={"example": READ})
    name: str
    lines: list[str]
    whole: bool


@router.get("", summary="Read a log", responses=errors(401, 403, 422))
def read(
    service: Running,
    who: Admin,
    name: Annotated[
        Literal["app", "worker", "predictor", "trainer"],
        Query(description="of the server, of its worker, or of another process with this folder"),
    ] = "app",
    limit: Annotated[int, Query(ge=1, le=1000, description="lines")] = 100,
    contains: Annotated[
        str, Query(max_length=200, description="this text, as ERROR", examples=["ERROR"])
    ] = "",
) -> Read:
    """Admins only. The last lines of app.log and of the files before it. It holds no signal,
    password, token or address. Of a long log the last 4 MiB are looked at."""
    found = logs_read.tail(service.settings.home, name, limit=limit, contains=contains)
    return Read(name=name, lines=found.lines, whole=found.whole)
