"""What the staff set for the monitoring of a model: limits, triggers, and who is told."""

import logging
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from retrace.runs import paired
from retrace.runs.answers import Answers
from retrace.service import audit, mail
from retrace.service.database import Database
from retrace.service.problems import Problem
from retrace.service.settings import Settings as ServiceSettings
from retrace.service.tables import now
from retrace.service.tables_models import Watch
from retrace.service.training import Asked

LOG = logging.getLogger(__name__)
SIDES = ("validation", "newest", "feedback")  # of a comparison; the test part is none of them
# Of the newest data; of fewer, one person with a rare heart decides for all. Whose they are is left
# to who uploads; the persons of a validation part are its recipe's (MIT-BIH's has four).
PERSONS = 5
Limit = Annotated[float, Field(ge=-1, le=1, strict=True, allow_inf_nan=False)]
Score = Annotated[float, Field(gt=0, le=1, strict=True, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0.01, le=8760, strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Recordings = Annotated[int, Field(ge=1, le=1000, strict=True)]
Metric = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]
Address = Annotated[  # of which `mail.queue` takes every one
    str, Field(max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$")
]

EXAMPLE: JsonDict = {
    "metric": "f1_macro",
    "newest": 20,
    "least": 500,
    "every_hours": 24,
    "suspend_below": 0.6,
    "retrain": {
        "below": 0.7,
        "wrong": 50,
        "samples": 10000,
        "training": {"recipe": "mitdb_ds1_ds2", "data": "all"},
    },
    "promote": {"metric": "f1_macro", "at_least": {"validation": 0, "newest": 0.01}},
    "drift": {"every_hours": 24, "newest": 200},
    "mail": ["cardiology@example.org"],
}


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Retrain(_Given):
    """When a training begins by itself, and which.

    below: the metric on the newest labelled data is below it. wrong, samples: so many answers that
    feedback calls wrong, so many newly labelled beats that may be trained on, since the newest
    version was made or the same trigger came last.
    """

    below: Score | None = None
    wrong: Count | None = None
    samples: Count | None = None
    training: Asked

    @model_validator(mode="after")
    def _something(self) -> "Retrain":
        if self.below is self.wrong is self.samples is None:
            raise ValueError("no trigger: give at least one of below, wrong, samples")
        if self.samples is not None and getattr(self.training, "data", "recipe") == "recipe":
            raise ValueError('samples: new beats are learned from only with data "all" or "newest"')
        return self


class AtLeast(_Given):
    """By how much a candidate is better than production; a side that is left out is not asked."""

    validation: Limit | None = None
    newest: Limit | None = None
    feedback: Limit | None = None

    @model_validator(mode="after")
    def _something(self) -> "AtLeast":
        if all(value is None for value in self.model_dump().values()):
            raise ValueError(f"no side: give at least one of {', '.join(SIDES)}")
        return self


class Promote(_Given):
    """When a candidate goes into production by itself: see `holds`."""

    metric: Metric
    at_least: AtLeast


class Drift(_Given):
    """How often drift is looked for, among so many of the newest recordings that were answered."""

    every_hours: Hours
    newest: Recordings


class Settings(_Given):
    """What is watched; what is left out does not happen.

    metric: what is measured on the `newest` labelled recordings. least: so many segments a verdict
    needs, beside PERSONS persons. every_hours: between two evaluations. suspend_below: the model
    gives no answers while the metric is below it. mail: who is told, else those of
    RETRACE_ALERT_MAIL; a log has it too.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": EXAMPLE})
    metric: Metric
    newest: Recordings
    least: Count
    every_hours: Hours | None = None
    suspend_below: Score | None = None
    retrain: Retrain | None = None
    promote: Promote | None = None
    drift: Drift | None = None
    mail: Annotated[list[Address], Field(max_length=20)] = []


def holds(settings: Settings | None, comparison: dict[str, Any] | None) -> tuple[bool, str]:
    """Whether the staff's rule promotes a candidate, and why or why not, in one sentence.

    comparison: of `compared.candidate`. It holds where on each side that the rule names there is a
    difference, candidate minus production, which is at least what the rule asks; on "newest" of
    PERSONS, and on "feedback" of `least` segments. The test part is no side.
    """
    rule = settings.promote if settings else None
    if settings is None or rule is None:
        return False, "The staff have set no rule by which a candidate is promoted."
    said = []
    for side, asked in rule.at_least.model_dump(exclude_none=True).items():
        found = (comparison or {}).get(side) or {}
        difference = ((found.get("scores") or {}).get(rule.metric) or {}).get("difference")
        if difference is None or not math.isfinite(difference):
            return False, f"No promotion by rule: {rule.metric} on {side} could not be compared."
        persons, segments = found.get("persons") or 0, found.get("segments") or 0
        if side == "newest" and persons < PERSONS:
            return False, (
                f"No promotion by rule: {side} is of {persons} known persons, and at least "
                f"{PERSONS} are needed."
            )
        if side == "feedback" and segments < settings.least:
            return False, (
                f"No promotion by rule: {side} is on {segments} segments, and the staff ask for at "
                f"least {settings.least}."
            )
        if difference < asked:
            return False, (
                f"No promotion by rule: {rule.metric} on {side} differs by {difference:+.4f}, the "
                f"rule asks at least {asked:+.4f}."
            )
        said.append(f"{side} {difference:+.4f} (at least {asked:+.4f})")
    return True, f"Promoted by rule: {rule.metric} differs on {', '.join(said)}."


def metrics(classes: Sequence[str]) -> list[str]:
    """The metrics that a model with these classes can have."""
    ones = np.ones((1, len(classes), len(classes)))
    return sorted(paired.known(Answers(tuple(classes), (("record", ""),), ones)))


def row(session: Session, model: str, *, lock: bool = False) -> Watch | None:
    """The watch that is in force."""
    chosen = select(Watch).where(Watch.model == model, Watch.ended.is_(None))
    return session.scalar(chosen.with_for_update() if lock else chosen)


def current(session: Session, model: str) -> Settings | None:
    """What the staff have set, None where nothing is in force."""
    found = row(session, model)
    return Settings(**found.settings) if found else None


def all_current(session: Session) -> dict[str, Settings]:
    """The same of every model that is watched."""
    found = session.scalars(select(Watch).where(Watch.ended.is_(None)).order_by(Watch.model))
    return {watch.model: Settings(**watch.settings) for watch in found}


def kept(session: Session, model: str) -> list[Watch]:
    """The watch in force and those before it, the newest first."""
    chosen = select(Watch).where(Watch.model == model).order_by(Watch.id.desc())
    return list(session.scalars(chosen))


def put(database: Database, model: str, settings: Settings, by: str) -> Watch:
    """Put a watch in the place of the one in force, which is kept as history. by: user id.

    Problem 409 where somebody else set it at the same moment.
    """
    new = Watch(model=model, settings=settings.model_dump(mode="json"), user_id=by)
    try:
        with database.write() as session:
            if old := row(session, model, lock=True):
                old.ended = now()
                session.flush()
            session.add(new)
            session.flush()
            audit.record(session, "watch.set", by=by, subject=model[:64], id=new.id)
    except IntegrityError:
        raise Problem(
            409,
            f"{model}: somebody else set its watch at the same moment: look at GET "
            f"/monitoring/{model}, then send yours again if it still holds",
        ) from None
    return new


def end(session: Session, model: str, by: str) -> None:
    """Take the watch out of force; Problem 404 where none is."""
    old = row(session, model, lock=True)
    if old is None:
        raise Problem(404, f"{model}: it is not watched: GET /monitoring/{model} says so")
    old.ended = now()
    audit.record(session, "watch.ended", by=by, subject=model[:64], id=old.id)


def tell(session: Session, settings: ServiceSettings, model: str, subject: str, text: str) -> None:
    """Mail what happened to a model to whom its watch names, else to RETRACE_ALERT_MAIL, as soon as
    the transaction is committed; the log of this process has the subject in any case.

    subject, text: names of models, numbers and ids; nothing of a person.
    """
    found = row(session, model)
    named = found.settings.get("mail") if found else None
    for to in dict.fromkeys(named or mail.addresses(settings.alert_mail)):
        link = f"{settings.public_url.rstrip('/')}/monitoring/{model}"
        mail.queue(session, to, f"Retrace: {model}: {subject}", f"{text}\n\n{link}\n")

    def log(_: Session) -> None:
        LOG.info("model %s: %s", model, subject)

    event.listen(session, "after_commit", log, once=True)
