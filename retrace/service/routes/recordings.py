"""Recordings: uploaded, listed, removed."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from retrace.service import recordings, tables, uploads
from retrace.service.access import Admin, Allowed, Member, Principal
from retrace.service.problems import errors
from retrace.service.routes.asked import TEXT, form
from retrace.service.state import Running, Service
from retrace.service.tables import ID

router = APIRouter(tags=["recordings"])
Labeller = Annotated[Principal, Depends(Allowed("staff", "data_scientist"))]
Id = Annotated[str, Path(pattern=ID, examples=["0193f2a1c0de0123456789abcdef0123"])]
Person = Annotated[
    str,
    Path(min_length=1, max_length=recordings.LONGEST_PERSON, pattern=TEXT, examples=["p-17"]),
]

EXAMPLE: dict[str, Any] = {
    "id": "0193f2a1c0de0123456789abcdef0123",
    "user_id": "0193f2a1c0de0123456789abcdef0000",
    "created": "2026-01-31T12:00:00Z",
    "person": "p-17",
    "name": "100",
    "fs": 360.0,
    "leads": ["MLII", "V5"],
    "samples": 650000,
    "seconds": 1805.6,
    "age": None,
    "sex": None,
    "labels": {"(N": 1, "A": 33, "N": 2239, "V": 1},
    "bytes": 1954627,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


class RecordingOut(BaseModel):
    """A stored recording. seconds: its length. labels: how many annotations there are of each
    symbol, rhythms by their names. age, sex: where the settings keep what headers say. sha256: of
    its stored files, one behind the other in the order of their names."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    user_id: str
    created: datetime
    person: str | None
    name: str
    fs: float
    leads: list[str]
    samples: int
    seconds: float
    age: float | None
    sex: str | None
    labels: dict[str, int] | None
    bytes: int
    sha256: str


class Removed(BaseModel):
    """How many recordings were removed."""

    model_config = ConfigDict(json_schema_extra={"example": {"recordings": 2}})

    recordings: int


_BODY = form(
    "one .csv, .tsv, .npy or .edf, or a .hea with its .dat or .mat and, if there is one, its .atr",
    {
        "person": {
            "type": "string",
            "maxLength": recordings.LONGEST_PERSON,
            "description": "a pseudonym, by which all of it can be removed",
        },
        "fs": {"type": "number", "description": "Hz, of a .npy file or a table without times"},
    },
)
_CODES = errors(400, 401, 403, 408, 409, 413, 415, 422, 507)


def _shown(row: tables.Recording) -> dict[str, Any]:
    names = RecordingOut.model_fields.keys() - {"seconds"}
    shown = {name: getattr(row, name) for name in names}
    return shown | {"seconds": round(row.samples / row.fs, 3)}


async def _store(
    request: Request, service: Service, who: Principal, *, labelled: bool
) -> dict[str, Any]:
    async with recordings.incoming(service) as folder:
        upload = await uploads.receive(request, folder)
        row = await service.slots.thread(recordings.store, service, who, upload, labelled=labelled)
        return _shown(row)


@router.post(
    "/recordings",
    status_code=201,
    response_model=RecordingOut,
    responses=_CODES,
    openapi_extra=_BODY,
    summary="Upload a recording",
)
async def upload(request: Request, service: Running, who: Member) -> dict[str, Any]:
    """Send the files of one recording, to be kept and predicted later.

    `curl -H "Authorization: Bearer $TOKEN" -F files=@100.hea -F files=@100.dat -F person=p-17 ...`
    Read are WFDB (.hea with its .dat or .mat, and .atr), CSV, .npy signals and EDF; .npy files and
    tables without times need the field `fs`. It is kept whole, or refused with nothing kept. The
    service keeps no comments of headers unless it is set to; the file's name is kept, so it should
    not be that of a person.
    """
    return await _store(request, service, who, labelled=False)


@router.post(
    "/recordings/labelled",
    status_code=201,
    response_model=RecordingOut,
    responses=_CODES,
    openapi_extra=_BODY,
    summary="Upload a recording with its labels",
)
async def upload_labelled(request: Request, service: Running, who: Labeller) -> dict[str, Any]:
    """Send a WFDB recording with its annotations (.atr), as new data to learn from.

    The annotations must fit the recording, and one of them must be a beat or a rhythm; else all of
    it is refused and nothing is kept.
    """
    return await _store(request, service, who, labelled=True)


@router.get(
    "/recordings",
    response_model=list[RecordingOut],
    responses=errors(401, 403, 422),
    summary="List recordings",
)
def listed(
    service: Running,
    who: Member,
    person: Annotated[str | None, Query(max_length=recordings.LONGEST_PERSON, pattern=TEXT)] = None,
    before: Annotated[str | None, Query(pattern=ID)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[dict[str, Any]]:
    """The latest recordings first: staff see all, others their own. `before` is the id of the last
    one of the page before."""
    rows = recordings.listed(service, who, person=person, before=before, limit=limit)
    return [_shown(row) for row in rows]


@router.get(
    "/recordings/{recording_id}",
    response_model=RecordingOut,
    responses=errors(401, 403, 404, 422),
    summary="See a recording",
)
def shown(recording_id: Id, service: Running, who: Member) -> dict[str, Any]:
    """What is known of a recording: rate, leads, length, labels."""
    return _shown(recordings.find(service, who, recording_id))


@router.delete(
    "/recordings/{recording_id}",
    status_code=204,
    responses=errors(401, 403, 404, 422),
    summary="Remove a recording",
)
def removed(recording_id: Id, service: Running, who: Member) -> Response:
    """Remove a recording with its files, predictions, alerts, feedback and jobs. Its owner and
    admins may."""
    recordings.delete(service, who, recording_id)
    return Response(status_code=204)


@router.delete(
    "/persons/{person:path}",
    response_model=Removed,
    responses=errors(401, 403, 404, 422),
    summary="Remove all recordings of a person",
)
def removed_person(person: Person, service: Running, who: Admin) -> dict[str, int]:
    """Remove every recording that was uploaded with this `person`, whoever did it, likewise."""
    return {"recordings": recordings.delete_of_person(service, who, person)}
