"""What a model answers, beside what is true."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.runs.answers import Answers
from retrace.scoring.scores import aggregate
from retrace.service.parts import Part
from retrace.signals.plan import BEAT_FEATURES

KEPT_OUT = 3  # one person in so many is never trained on
WHOLE = -1  # the place of an answer for a recording as a whole

Places = NDArray[np.int64]
Classes = NDArray[np.int16]


def kept_out(person: str) -> bool:
    """Whether a person is kept out of every training, for ever: on these, models are compared."""
    return hashlib.sha256(person.encode()).digest()[0] % KEPT_OUT == 0


@dataclass(frozen=True, eq=False)
class Told:
    """The k answers for one recording. key: its id, or what stands for it. places: (k,) which
    segment of it, ascending. y, predicted: (k,) class numbers."""

    key: str
    person: str | None
    age: float | None
    sex: str | None
    places: Places
    y: Classes
    predicted: Classes


@dataclass(frozen=True, eq=False)
class Labelled:
    """n answers with their truth, recording by recording. unit: what an answer is for: "beat",
    "window" or "record". left_out: reason and count."""

    classes: tuple[str, ...]
    unit: str
    told: tuple[Told, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(one.y) for one in self.told)

    @property
    def y(self) -> Classes:
        """(n,) true class numbers."""
        return np.concatenate([np.empty(0, np.int16), *(one.y for one in self.told)])

    @property
    def predicted(self) -> Classes:
        """(n,) answered class numbers."""
        return np.concatenate([np.empty(0, np.int16), *(one.predicted for one in self.told)])

    @cached_property
    def answers(self) -> Answers:
        """The same counted for each person, or recording where the person is unknown."""
        size = len(self.classes)
        found: dict[tuple[str, str], NDArray[np.float64]] = {}
        for one in self.told:
            group = ("record", one.key) if one.person is None else ("patient", one.person)
            cells = np.bincount(one.y.astype(np.int64) * size + one.predicted, minlength=size**2)
            found[group] = found.get(group, 0) + cells.reshape(size, size).astype(np.float64)
        return Answers(
            self.classes, tuple(found), np.array(list(found.values())).reshape(-1, size, size)
        )


def of_part(predictor: Predictor, part: Part) -> Labelled:
    """What a model answers for a part of its run: for each beat, or where the model joins the
    windows of a recording, for each recording.

    Raises InputError where a label is no class of the model.
    """
    card = predictor.card
    number = {name: place for place, name in enumerate(card.classes)}
    if unknown := sorted(set(part.labels.tolist()) - number.keys()):
        raise InputError(
            f"part: label {unknown[0]!r}; the model's classes are {', '.join(card.classes)}: take "
            "the part of its own run"
        )
    y = np.array([number[label] for label in part.labels.tolist()], np.int16)
    columns = [BEAT_FEATURES.index(name) for name in card.features]
    found = predictor.probabilities(part.X, part.features[:, columns] if columns else None)
    rows: dict[str, list[int]] = {}
    for row, record in enumerate(part.records.tolist()):
        rows.setdefault(record, []).append(row)
    joined = card.aggregate != "none"
    if joined:
        found = aggregate(part.records.tolist(), found, card.aggregate)[1]
    best = found.argmax(axis=1).astype(np.int16)
    told = []
    for place, (record, mine) in enumerate(rows.items()):
        first = mine[0]
        own, answered = (mine[:1], best[[place]]) if joined else (mine, best[mine])
        told.append(
            Told(
                key=record,
                person=str(part.persons[first]) or None,
                age=None if np.isnan(part.ages[first]) else float(part.ages[first]),
                sex=str(part.sexes[first]) or None,
                places=np.array(own, np.int64),
                y=y[own],
                predicted=answered,
            )
        )
    return Labelled(card.classes, "record" if joined else card.unit, tuple(told))


def unit(predictor: Predictor) -> str:
    """What an answer of this model for a recording is for."""
    card = predictor.card
    return card.unit if card.aggregate == "none" else "record"
