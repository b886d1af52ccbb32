"""What has come since: answers that staff call wrong, and labelled beats."""

from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from retrace.service.tables import Feedback, Prediction, Recording
from retrace.service.tables_models import Version
from retrace.service.truths import kept_out
from retrace.signals.records import BEATS

MOST = 100  # questions whose answers are kept
# By what is asked: the last recording and how many there were, and the answer.
_beats: dict[tuple[datetime, frozenset[str]], tuple[tuple[str | None, int], int]] = {}


def wrong(session: Session, version: Version, since: datetime) -> int:
    """How many answers of a version the latest feedback, given since, calls wrong: what
    `reanswered.latest` counts. Random rows of the test part are none of them."""
    later = aliased(Feedback)
    same = later.segment.is_not_distinct_from(Feedback.segment)
    overruled = (
        select(later.id)
        .where(
            later.prediction_id == Feedback.prediction_id,
            or_(same, Prediction.segments == 1),  # of a single one both ways mean the same
            later.id > Feedback.id,
        )
        .exists()
    )
    chosen = (
        select(func.count())
        .select_from(Feedback)
        .join(Prediction, Prediction.id == Feedback.prediction_id)
        .where(Prediction.model == version.model, Prediction.version == version.weights[:12])
        .where(Prediction.kind != "random", Feedback.created > since, ~overruled)
        .where(Feedback.label != Feedback.answered)
    )
    return session.scalar(chosen) or 0


def samples(session: Session, since: datetime, known: frozenset[str]) -> int:
    """How many labelled beats came since that a training may learn from: of a known person, who is
    not kept out of every training. known: ids of recordings that were learned from already.

    They are counted again only once a recording came or went: it is asked every few seconds.
    """
    came = Recording.created > since, Recording.person.is_not(None)
    last, count = session.execute(select(func.max(Recording.id), func.count()).where(*came)).one()
    state, before = (last, count), _beats.get((since, known))
    if before is not None and before[0] == state:
        return before[1]
    rows = session.execute(select(Recording.id, Recording.person, Recording.labels).where(*came))
    found: int = sum(
        count
        for row in rows
        if row.id not in known and not kept_out(row.person)
        for symbol, count in (row.labels or {}).items()
        if symbol in BEATS
    )
    if len(_beats) == MOST:
        _beats.clear()
    _beats[since, known] = state, found
    return found
