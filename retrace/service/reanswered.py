"""What staff said of answers, as truths: by these a model is asked the same again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.deploy.answers import Answer
from retrace.deploy.inputs import Ready
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.service import samples
from retrace.service.tables import Feedback, Prediction, Recording
from retrace.service.truths import WHOLE, Labelled, Told
from retrace.service.uploaded import LeftOut, Progress, Unseen, answered, shared, unseen
from retrace.signals.apply import choose_leads, domain_from

if TYPE_CHECKING:
    from retrace.service.state import Service

MOST = 1000  # of the latest feedback; each may be on a recording of its own, which is answered anew
NEAR = 0.15  # s within which two R peaks are one beat: the tolerance of ANSI/AAMI EC57


@dataclass(frozen=True)
class Said:
    """The latest that was said of a segment (None: of the recording as a whole). id: sorts by
    time."""

    id: str
    prediction: str
    segment: int | None
    answered: str
    label: str


def latest(
    session: Session,
    model: str,
    *,
    version: str | None = None,
    most: int | None = None,
) -> list[Said]:
    """The latest feedback on each segment that a model answered, the newest first.

    version: that answered, as `Prediction.version`. most: rows of feedback that are looked at.
    """
    columns = (
        Feedback.id,
        Feedback.prediction_id,
        Feedback.segment,
        Feedback.answered,
        Feedback.label,
        Prediction.segments,
    )
    chosen = select(*columns).join(Prediction, Prediction.id == Feedback.prediction_id)
    chosen = chosen.where(Prediction.model == model, Prediction.kind != "random")
    if version is not None:
        chosen = chosen.where(Prediction.version == version)
    found: dict[tuple[str, int | None], Said] = {}
    rows = session.execute(chosen.order_by(Feedback.id.desc()).limit(most))
    for key, prediction, segment, then, label, count in rows:
        place = segment if count > 1 else None  # of a single one both ways mean the same
        found.setdefault((prediction, place), Said(key, prediction, segment, then, label))
    return list(found.values())


def feedback(
    service: Service,
    predictor: Predictor,
    model: str,
    *,
    without: Collection[str] = (),
    with_mitbih: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """What `predictor` answers where staff said what is true, by the latest feedback of each
    segment; of the answers of `model`, whichever version gave them.

    Recordings are answered again, and the beat (or window) is the nearest within 150 ms. Segments
    that were sent are answered again where they are of the predictor's domain, and it asks for no
    features, which are not kept. without: ids of recordings that were trained on; all recordings of
    their persons are left out, and what was sent without saying whose it is. with_mitbih: see
    `uploaded.newest`.
    """
    card = predictor.card
    seen = unseen(service, predictor, without, with_mitbih=with_mitbih)
    with service.database.read() as session:
        said = latest(session, model, most=MOST)
    of_each: dict[str, list[Said]] = {}
    for one in said:
        of_each.setdefault(one.prediction, []).append(one)
    left_out: Counter[str] = Counter()
    judged: dict[str, _Judged] = {}
    for done, (prediction_id, mine) in enumerate(of_each.items()):
        try:
            again = _again(
                service,
                predictor,
                prediction_id,
                seen,
                bool(without),
                shared(progress, done, len(of_each)),
            )
        except LeftOut as why:
            left_out[str(why)] += len(mine)
            continue
        # Two answers for a recording are about the same beats.
        kept = judged.setdefault(again.key, _Judged(again.key, again.recording, {}))
        for one in mine:
            try:
                if one.label not in card.classes:
                    raise LeftOut("feedback of a class that the model has not")
                place, predicted = again.at(one.segment)
                kept.add(place, one, card.classes.index(one.label), predicted)
            except LeftOut as why:
                left_out[str(why)] += 1
    told = tuple(one.told for one in judged.values() if one.places)
    return Labelled(card.classes, card.unit, told, dict(left_out))


@dataclass(frozen=True)
class _Again:
    """A new answer for what a prediction was about. before: the JSON of the answer then."""

    key: str
    recording: Recording | None
    answer: Answer
    before: dict[str, Any]

    def at(self, segment: int | None) -> tuple[int, int]:
        """Place and class of the new answer for a segment of the one before; None: of the whole."""
        segments = self.before["segments"]
        if segment is None and self.answer.together is not None:
            return WHOLE, int(self.answer.together.argmax())
        if segment is None and len(segments) > 1:
            raise LeftOut("feedback on a whole recording, which the model does not answer")
        number = segment or 0
        sample, best = segments[number]["sample"], self.answer.best
        if sample is not None:  # else segments were sent, and are the same
            number = int(np.abs(self.answer.samples - sample).argmin())
            if abs(int(self.answer.samples[number]) - sample) > NEAR * self.answer.fs:
                raise LeftOut("feedback on what the model has no answer for")
        return int(self.answer.samples[number]), int(best[number])


@dataclass(frozen=True)
class _Judged:
    """What was said of one recording: by place, in which feedback, the true class, and the one that
    is answered now."""

    key: str
    recording: Recording | None
    places: dict[int, tuple[str, int, int]]

    def add(self, place: int, said: Said, y: int, predicted: int) -> None:
        if place not in self.places or self.places[place][0] < said.id:
            self.places[place] = (said.id, y, predicted)

    @property
    def told(self) -> Told:
        whose, order = self.recording, sorted(self.places)
        return Told(
            key=self.key,
            person=whose.person if whose else None,
            age=whose.age if whose else None,
            sex=whose.sex if whose else None,
            places=np.array(order, np.int64),
            y=np.array([self.places[place][1] for place in order], np.int16),
            predicted=np.array([self.places[place][2] for place in order], np.int16),
        )


def _again(
    service: Service,
    predictor: Predictor,
    prediction_id: str,
    seen: Unseen,
    strict: bool,
    progress: Progress | None,
) -> _Again:
    """Ask the model what the prediction was asked; LeftOut where that cannot be."""
    with service.database.read() as session:
        row = session.get(Prediction, prediction_id)
        recording = row and row.recording_id and session.get(Recording, row.recording_id)
    if row is None:
        raise LeftOut("feedback on answers that were deleted meanwhile")
    before = orjson.loads(row.answer)
    if isinstance(recording, Recording):
        seen.check(recording)
        lead = _lead(predictor, recording.name, recording.leads, before)
        _, answer = answered(service, predictor, recording, lead, progress)
        return _Again(recording.id, recording, answer, before)
    if strict:
        raise LeftOut("feedback on what nobody said whose it is")
    try:
        return _Again(row.id, None, _sent(predictor, row, before), before)
    except InputError:
        raise LeftOut("feedback on what the model cannot answer") from None


def _sent(predictor: Predictor, row: Prediction, before: dict[str, Any]) -> Answer:
    """The answer for numbers that were sent; InputError where the model cannot take them."""
    card = predictor.card
    if row.signal is None or row.shape is None:
        raise LeftOut("feedback on segments that were too many to be kept")
    signal = np.frombuffer(row.signal, "<f4").reshape(row.shape)
    if row.kind == "samples":
        if len(signal) != len(before["leads"]):
            raise LeftOut("feedback on samples whose leads were not kept")
        leads = dict(zip(before["leads"], signal, strict=True))
        found = samples.recording(before["fs"], leads)
        return predictor.answer(found, lead=_lead(predictor, found.name, found.leads, before))
    if card.features:
        raise LeftOut("feedback on segments whose features were not kept")
    if domain_from({k: v for k, v in before["domain"].items() if k != "name"}) != card.domain:
        raise LeftOut("feedback on segments of another signal domain")
    return predictor.answer_ready(Ready(samples.BEATS.name, samples.BEATS, signal))


def _lead(
    predictor: Predictor, name: str, leads: Collection[str], before: dict[str, Any]
) -> str | None:
    """None where the model's own lead is there, else the one that was looked at before."""
    try:
        choose_leads(name, list(leads), predictor.card.domain)
    except InputError:
        return ",".join(before["leads"])
    return None
