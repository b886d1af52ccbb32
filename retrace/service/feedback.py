"""What staff say of an answer: that it is right, or what it should have been."""

from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, exists, select, true
from sqlalchemy.orm import Session, aliased

from retrace.deploy.readers.common import printable
from retrace.errors import InputError
from retrace.service import audit
from retrace.service.access import Principal
from retrace.service.database import Database
from retrace.service.predictions import seen_by
from retrace.service.problems import Problem
from retrace.service.tables import Feedback, Prediction, new_id


def give(
    database: Database,
    prediction_id: str,
    *,
    segment: int | None,
    label: str,
    comment: str,
    by: str,
) -> dict[str, Any]:
    """Keep what somebody says of a segment, or of the whole recording (None); see `of`.

    Raises Problem 404 for a prediction that is not there, InputError for a segment that it has
    not, or a label that is no class of the model that answered.
    """
    with database.read() as session:
        packed = session.scalar(select(Prediction.answer).where(Prediction.id == prediction_id))
    if packed is None:
        raise _gone(prediction_id)
    answer = orjson.loads(packed)
    if label not in answer["classes"]:
        raise InputError(
            f"label {printable(label)}: no class of this model; it is one of "
            f"{', '.join(answer['classes'])}"
        )
    answered = _answered(answer, segment)
    with database.write() as session:
        # It may have been deleted meanwhile; from here on it cannot.
        still = select(Prediction.id).where(Prediction.id == prediction_id)
        if session.scalar(still.with_for_update(read=True, key_share=True)) is None:
            raise _gone(prediction_id)
        row = Feedback(
            id=new_id(),
            prediction_id=prediction_id,
            user_id=by,
            segment=segment,
            answered=answered,
            label=label,
            comment=comment,
        )
        session.add(row)
        audit.record(
            session, "feedback", by=by, subject=prediction_id, segment=segment, label=label
        )
        session.flush()
        return _shown(row, answer["model"]["name"], counts=True, seen=True)


def of(session: Session, prediction_id: str) -> list[dict[str, Any]]:
    """All feedback to a prediction, the oldest first: id, prediction, model, segment (None: the
    whole recording), answered, label, agrees, comment, by (user id), created, and counts: whether
    it is the latest on its segment."""
    chosen = _rows().where(Feedback.prediction_id == prediction_id).order_by(Feedback.id)
    return [_shown(*row) for row in session.execute(chosen)]


def listed(
    session: Session,
    who: Principal,
    *,
    model: str | None,
    agrees: bool | None,
    limit: int,
    before: str | None,
) -> list[dict[str, Any]]:
    """The newest `limit` of all feedback, as `of` gives it. model: to its answers. agrees: with
    the answer, or not. before: older than the feedback with this id. comment: None where `who` may
    not see the prediction."""
    chosen = _rows(seen_by(who)).order_by(Feedback.id.desc()).limit(limit)
    if model is not None:
        chosen = chosen.where(Prediction.model == model)
    if agrees is not None:
        same = Feedback.label == Feedback.answered
        chosen = chosen.where(same if agrees else ~same)
    if before is not None:
        chosen = chosen.where(Feedback.id < before)
    return [_shown(*row) for row in session.execute(chosen)]


def _answered(answer: dict[str, Any], segment: int | None) -> str:
    """The class that was answered."""
    segments, unit = answer["segments"], answer["unit"]
    if segment is not None and not segment < len(segments):
        raise InputError(
            f"segment {segment}: there are {len(segments)}, counted from 0: name one of them"
        )
    whole = (answer.get("summary") or {}).get("whole")
    if segment is None and whole:
        return str(whole["class"])
    if segment is None and len(segments) != 1:
        raise InputError(
            f"segment: none given, but this model answers each {unit} and not the recording as a "
            f"whole: give the number of the {unit}"
        )
    return str(segments[segment or 0]["class"])


def _rows(seen: ColumnElement[bool] | None = None) -> Select[Feedback, str, bool, bool]:
    later = aliased(Feedback)
    newest: ColumnElement[bool] = ~exists().where(
        later.prediction_id == Feedback.prediction_id,
        later.segment.is_not_distinct_from(Feedback.segment),
        later.id > Feedback.id,
    )
    seen = true() if seen is None else seen
    return select(Feedback, Prediction.model, newest, seen.label("seen")).join(
        Prediction, Prediction.id == Feedback.prediction_id
    )


def _shown(row: Feedback, model: str, counts: bool, seen: bool) -> dict[str, Any]:
    return {
        "id": row.id,
        "prediction": row.prediction_id,
        "model": model,
        "segment": row.segment,
        "answered": row.answered,
        "label": row.label,
        "agrees": row.label == row.answered,
        "counts": bool(counts),
        "comment": row.comment if seen else None,
        "by": row.user_id,
        "created": row.created,
    }


def _gone(prediction_id: str) -> Problem:
    return Problem(404, f"prediction {prediction_id}: there is none: GET /predictions lists them")
