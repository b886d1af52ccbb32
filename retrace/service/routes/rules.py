"""Rules: from when a class is flagged, and an answer is uncertain. Staff set them; nobody else."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrace.deploy.answers import word
from retrace.service import rulebook, tables
from retrace.service.access import Member, Staff
from retrace.service.problems import errors
from retrace.service.rulebook import UNCERTAIN
from retrace.service.rules import Rule
from retrace.service.state import Running

router = APIRouter(prefix="/rules", tags=["rules"])
MANY = 1_000_000_000
Class = Annotated[
    str,
    Path(
        alias="class",
        min_length=1,
        max_length=32,
        pattern=r"^[^*\x00-\x1f\x7f]+$",
        description="a class of a served model, other than the normal one",
        examples=["V"],
    ),
]
Probability = Annotated[float, Field(gt=0, le=1, strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MANY, strict=True)]


class Given(BaseModel):
    """A rule for one class: at least one value; what is left out is not asked for.

    probability: a beat or window is flagged from this probability of the class. count, burden, run:
    a recording is flagged from so many segments of the class, from this share of all that are
    certain, from so many in an unbroken row.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"probability": 0.5, "count": 10, "burden": 0.1, "run": 3}},
    )
    probability: Probability | None = None
    count: Count | None = None
    burden: Probability | None = None
    run: Count | None = None

    @model_validator(mode="after")
    def _something(self) -> "Given":
        if all(value is None for value in self.model_dump().values()):
            raise ValueError("no value: give at least one of probability, count, burden, run")
        return self


class GivenLimit(BaseModel):
    """An answer whose probability is below this one is uncertain."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"probability": 0.6}})
    probability: Probability


class Shown(BaseModel):
    """A rule. by: the id of who set it, null where that account is gone. ended: null while it is
    in force."""

    id: str
    name: str = Field(serialization_alias="class")
    word: str
    probability: float | None
    count: int | None
    burden: float | None
    run: int | None
    by: str | None
    since: datetime
    ended: datetime | None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
                "class": "V",
                "word": "Ventricular",
                "probability": 0.5,
                "count": 10,
                "burden": 0.1,
                "run": 3,
                "by": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
                "since": "2026-01-02T03:04:05Z",
                "ended": None,
            }
        },
    )


class ShownLimit(BaseModel):
    """The limit below which an answer is uncertain; see `Shown`."""

    id: str
    probability: float
    by: str | None
    since: datetime
    ended: datetime | None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
                "probability": 0.6,
                "by": "0199f1d6a1b24b8f3a52c1d9e0f7a6b4",
                "since": "2026-01-02T03:04:05Z",
                "ended": None,
            }
        }
    )


class ShownAll(BaseModel):
    """Rules by class, and limits; without `history` one at most of each."""

    flag: list[Shown]
    uncertain: list[ShownLimit]
    sentence: str = Field(examples=["Nothing is flagged: the staff have set no rule."])


@router.get("", summary="The staff's rules", responses=errors(401, 403, 422))
def listed(
    service: Running,
    who: Member,
    history: Annotated[bool, Query(description="those that have ended as well")] = False,
) -> ShownAll:
    """From when a beat, a window or a recording is flagged, for each class, and from when an answer
    is uncertain. None has a default: without a rule nothing is flagged."""
    with service.database.read() as session:
        rows = rulebook.kept(session, ended=history)
    flag = [_shown(row) for row in rows if row.name != UNCERTAIN]
    in_force = [rule.name for rule in flag if rule.ended is None]
    return ShownAll(
        flag=flag,
        uncertain=[_shown_limit(row) for row in rows if row.name == UNCERTAIN],
        sentence=f"Rules are set for {', '.join(in_force)}."
        if in_force
        else "Nothing is flagged: the staff have set no rule.",
    )


@router.put(
    "/uncertain",
    summary="Set from when an answer is uncertain",
    responses=errors(401, 403, 409, 422),
)
def limit(service: Running, who: Staff, given: GivenLimit) -> ShownLimit:
    """Staff only. An answer whose probability is below the limit is uncertain, and part of no
    count, burden or row of a rule. The limit before is kept as history."""
    rule = Rule(given.probability)
    return _shown_limit(service.rules.set(UNCERTAIN, rule, by=who.user_id))


@router.delete(
    "/uncertain",
    status_code=204,
    summary="Remove the limit of uncertain answers",
    responses=errors(401, 403, 404),
)
def no_limit(service: Running, who: Staff) -> None:
    """Staff only. From then on no answer is uncertain."""
    service.rules.end(UNCERTAIN, by=who.user_id)


@router.put("/{class}", summary="Set the rule of a class", responses=errors(401, 403, 409, 422))
def put(service: Running, who: Staff, name: Class, given: Given) -> Shown:
    """Staff only. Takes the place of the rule that the class had, which is kept as history. It
    holds from the next answer on; in other processes of the service within two seconds."""
    served = [known for model in service.models if model.card for known in model.card.classes]
    rulebook.check_class(name, served)
    return _shown(service.rules.set(name, Rule(**given.model_dump()), by=who.user_id))


@router.delete(
    "/{class}",
    status_code=204,
    summary="Remove the rule of a class",
    responses=errors(401, 403, 404, 422),
)
def end(service: Running, who: Staff, name: Class) -> None:
    """Staff only. From then on nothing is flagged for this class."""
    service.rules.end(name, by=who.user_id)


def _shown(row: tables.Rule) -> Shown:
    return Shown(
        id=row.id,
        name=row.name,
        word=word(row.name),
        probability=row.segment,
        count=row.count,
        burden=row.burden,
        run=row.run,
        by=row.user_id,
        since=row.created,
        ended=row.ended,
    )


def _shown_limit(row: tables.Rule) -> ShownLimit:
    assert row.segment is not None
    return ShownLimit(
        id=row.id, probability=row.segment, by=row.user_id, since=row.created, ended=row.ended
    )
