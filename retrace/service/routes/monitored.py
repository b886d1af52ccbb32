"""What monitoring answers and is asked with, and how that is documented."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.service import watches
from retrace.service.access import Principal
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables_models import Evaluation, Suspension, Version, Watch

Kind = Literal["performance", "drift", "trigger"]

SOME_ID = "0199f1d6a3c04b8f3a52c1d9e0f7a6b5"
AT = "2026-01-02T03:04:05Z"
SUBGROUPS: JsonDict = {"sex": {"f": {"segments": 700, "f1_macro": 0.61}}}
WATCH: JsonDict = {
    "id": SOME_ID,
    "settings": watches.EXAMPLE,
    "by": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
    "since": AT,
    "ended": None,
}
FOUND: JsonDict = {
    "id": SOME_ID,
    "kind": "performance",
    "version": 2,
    "created": AT,
    "result": {
        "version": 2,
        "newest": {
            "segments": 1300,
            "persons": 9,
            "scores": {"f1_macro": {"value": 0.58, "low": 0.49, "high": 0.66}},
            "subgroups": SUBGROUPS,
        },
        "why": "scheduled",
        "asked": 20,
    },
}
SUSPENDED: JsonDict = {
    "id": SOME_ID,
    "reason": "f1_macro on the newest labelled data is 0.580, below the staff's limit 0.6",
    "ruled": True,
    "by": None,
    "since": AT,
    "released": None,
    "released_by": None,
    "release_reason": None,
}
COUNTER: JsonDict = {
    "value": 12,
    "limit": 50,
    "since": AT,
    "met": False,
    "words": "12 answers wrong by feedback since 2026-01-02 03:04 UTC, limit 50",
}


class Watched(BaseModel):
    """What the staff have set; its addresses are shown to staff and admins alone. by: the id of who
    did, null where that account is gone. ended: null while it is in force."""

    model_config = ConfigDict(json_schema_extra={"example": WATCH})
    id: str
    settings: dict[str, Any]
    by: str | None
    since: datetime
    ended: datetime | None


class Found(BaseModel):
    """An evaluation ("performance"), a look for drift, or a training that began by itself
    ("trigger"). version: of which model. result: all that was found; in it why, and of how many
    recordings it was asked."""

    model_config = ConfigDict(json_schema_extra={"example": FOUND})
    id: str
    kind: Kind
    version: int
    created: datetime
    result: dict[str, Any]


class Suspended(BaseModel):
    """A time without answers. ruled: a rule of the staff did it, so performance that is back ends
    it. released: null while it is in force."""

    model_config = ConfigDict(json_schema_extra={"example": SUSPENDED})
    id: str
    reason: str
    ruled: bool
    by: str | None
    since: datetime
    released: datetime | None
    released_by: str | None
    release_reason: str | None


class Counter(BaseModel):
    """How near a trigger is to a training that begins by itself. met: it begins within seconds,
    unless one of this model is under way."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": COUNTER})
    value: float | None
    limit: float
    since: datetime | None
    met: bool
    words: str


class Monitored(BaseModel):
    """All of it at one look. performance, drift: the latest; where the model is watched, of as many
    recordings as the watch says. verdict: what that evaluation says of the watched metric. failing:
    of each kind of scheduled job, what became of the last one where it was not done."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "mitdb_ds1_ds2",
                "watch": WATCH,
                "suspension": SUSPENDED,
                "performance": FOUND,
                "verdict": "f1_macro on the newest labelled data is 0.580 [0.490, 0.660]",
                "drift": None,
                "triggers": {"wrong": COUNTER},
                "failing": {"drift": "failed: the file of version 2 is gone: roll back"},
            }
        }
    )
    model: str
    watch: Watched | None
    suspension: Suspended | None
    performance: Found | None
    verdict: str | None
    drift: Found | None
    triggers: dict[str, Counter]
    failing: dict[str, str]


class Newest(BaseModel):
    """newest: so many recordings, labelled or answered ones; null: as many as the watch says."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"newest": 20}})
    newest: watches.Recordings | None = None


class First(BaseModel):
    """first: so many recordings, from the first one on that was answered."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"first": 200}})
    first: watches.Recordings


class Reason(BaseModel):
    """Why. Who asks for a prediction reads it, so it names no person."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "the new electrodes are checked"}}
    )
    reason: Annotated[
        str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f.]$")
    ]


class Started(BaseModel):
    """The job that does it; there is one at a time of each model."""

    model_config = ConfigDict(json_schema_extra={"example": {"job": SOME_ID}})
    job: str


class BySubgroup(BaseModel):
    """Scores by sex and age with their counts, as the latest evaluation found them on the test part
    and on the newest labelled data; null where there was none."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"evaluation": SOME_ID, "test": None, "newest": SUBGROUPS}}
    )
    evaluation: str | None
    test: Any
    newest: Any


def found_shown(row: Evaluation, number: int) -> Found:
    """number: of its version."""
    kind: Any = row.kind  # a string in the database
    return Found(id=row.id, kind=kind, version=number, created=row.created, result=row.result)


def watched_shown(row: Watch, who: Principal) -> Watched:
    """As it is answered to `who`."""
    settings = dict(row.settings)
    if who.role not in ("staff", "admin"):
        settings.pop("mail", None)
    return Watched(id=row.id, settings=settings, by=row.user_id, since=row.created, ended=row.ended)


def suspended_shown(row: Suspension) -> Suspended:
    """As it is answered."""
    names = Suspended.model_fields.keys() - {"since"}
    return Suspended(since=row.created, **{name: getattr(row, name) for name in names})


def known(service: Service, session: Session, model: str) -> None:
    """Problem 404 for what is neither served nor in the registry."""
    chosen = select(Version.id).where(Version.model == model).limit(1)
    served = any(one.name == model for one in service.models)
    if not served and session.scalar(chosen) is None:
        raise Problem(404, f"model {model!r}: there is none; GET /registry lists the models")
