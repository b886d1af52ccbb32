"""Recordings that a version answered, and what is observed of them: once, by a worker, and kept."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.exc import IntegrityError

from retrace.errors import InputError
from retrace.scoring.drift import Sample
from retrace.service import observations, recordings
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Prediction, Recording
from retrace.service.tables_models import Observation, Version

Progress = Callable[[float], None]


@dataclass
class Seen:
    """Recordings with their answers: what was observed of each, whose it is, and its answer, by id
    and time. unread: how many more are gone or damaged."""

    observations: list[dict[str, Any]] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    unread: int = 0

    def sample(self, classes: Sequence[str]) -> Sample:
        """As `drift.compare` takes them."""
        return observations.sample(self.observations, classes, self.persons)


def answered(service: Service, version: Version, *where: ColumnElement[bool]) -> Select[Any]:
    """The latest answer of the version to each recording of a person that it was not trained on:
    id, time, recording, what was observed."""
    latest = select(func.max(Prediction.id)).where(*_by(version), *where)
    latest = latest.where(Prediction.kind == "recording").group_by(Prediction.recording_id)
    chosen = select(Prediction.id, Prediction.created, Recording, Observation.features)
    return (
        chosen.join(Recording, Recording.id == Prediction.recording_id)
        .outerjoin(Observation, Observation.prediction_id == Prediction.id)
        .where(
            Prediction.id.in_(latest),
            Recording.person.is_not(None),
            Recording.person.not_in(_taught(version)),
        )
    )


def _by(version: Version) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Prediction.model == version.model, Prediction.version == version.weights[:12]


def _taught(version: Version) -> Select[str | None]:
    """The persons that the version was trained on."""
    learnt = Recording.id.in_(version.data.get("recordings", ()))
    return select(Recording.person).where(learnt, Recording.person.is_not(None))


def observe(service: Service, chosen: Select[Any], progress: Progress) -> Seen:
    """What is observed of recordings that `answered` has chosen; where nobody looked yet, it is
    looked now, and kept."""
    with service.database.read() as session:
        rows = session.execute(chosen).all()
    found = Seen()
    for number, (prediction, created, recording, features) in enumerate(rows):
        progress(number / len(rows))
        try:
            features = features or _kept(service, prediction, recording)
        except (Problem, InputError):
            found.unread += 1
            continue
        found.observations.append(features)
        found.persons.append(recording.person)
        found.ids.append(prediction)
        found.times.append(created)
    return found


def _kept(service: Service, prediction: str, row: Recording) -> dict[str, Any]:
    """Observe a recording and its answer; Problem or InputError where it is gone or damaged."""
    with service.database.read() as session:
        packed = session.scalar(select(Prediction.answer).where(Prediction.id == prediction))
    if packed is None:
        raise Problem(404, f"prediction {prediction}: deleted meanwhile")
    answer = orjson.loads(packed)
    recording = recordings.opened(service, row)
    features = observations.observed(
        recording,
        recording.leads.index(answer["leads"][0]),
        [segment["class"] for segment in answer["segments"]],
        [segment["probability"] for segment in answer["segments"]],
    )
    # Another worker may have observed it, or somebody have deleted it.
    with suppress(IntegrityError), service.database.write() as session:
        session.add(Observation(prediction_id=prediction, features=features))
    return features


def left_out(
    service: Service, version: Version, later: Sequence[ColumnElement[bool]]
) -> dict[str, int]:
    """How many answers of the version are not looked at, by the reason."""
    answers = select(func.count()).select_from(Prediction).where(*_by(version), *later)
    of_recordings = answers.join(Recording, Recording.id == Prediction.recording_id)
    kinds = ("beats", "segments", "samples")
    with service.database.read() as session:
        return {
            name: session.scalar(query) or 0
            for name, query in {
                "answers to what is no stored recording": answers.where(Prediction.kind.in_(kinds)),
                "answers to recordings of nobody": of_recordings.where(Recording.person.is_(None)),
                "answers to recordings of persons that it was trained on": of_recordings.where(
                    Recording.person.in_(_taught(version))
                ),
            }.items()
        }
