"""What an evaluation means: the watched metric on the newest labelled data, and by the staff's rule
a suspension, or its end.

A mean over classes is another score where other classes are there: of normal beats alone nearly
every model does well. So a verdict names its classes, and what was suspended over some of them is
not released over fewer.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.runs import paired
from retrace.runs.answers import Answers
from retrace.service import suspensions, watches
from retrace.service.settings import Settings
from retrace.service.tables_models import Evaluation, Suspension
from retrace.service.watches import PERSONS

# Of fewer examples one answer moves the score of a class by more than a fifth. Many more would
# leave out the rare ones: of a hundred beats less than one is a fusion beat.
EXAMPLES = 5


@dataclass(frozen=True)
class Verdict:
    """value: of the watched metric on the newest labelled data, None where there is too little of
    it. classes: over which. words: all of that."""

    value: float | None
    classes: tuple[str, ...]
    words: str


def verdict(settings: watches.Settings, result: dict[str, Any]) -> Verdict:
    """What an evaluation says of the watched metric. result: of `evaluations.evaluate`.

    It is taken over the classes of which both the newest data and the test part have EXAMPLES;
    where no test part is known, over those of the newest data.
    """
    newest = result.get("newest") or {}
    if "missing" in newest:
        return Verdict(None, (), str(newest["missing"]))
    segments, persons = newest.get("segments", 0), newest.get("persons")
    if segments < settings.least:
        return _none(
            f"{segments} segments of labelled data, and the staff ask for at least {settings.least}"
        )
    if (persons or 0) < PERSONS:
        return _none(
            f"labelled data of {persons or 'unknown'} persons, and at least {PERSONS} are needed"
        )
    support = newest["support"]
    expected = _enough((result.get("test") or {}).get("support") or support)
    classes = tuple(name for name in _enough(support) if name in expected)
    lacking = [name for name in expected if name not in classes]
    too_few = f"fewer than {EXAMPLES} examples of {', '.join(lacking)}" if lacking else ""
    value = _over(classes, settings.metric, newest)
    if value is None or not math.isfinite(value):
        why = f" ({too_few})" if too_few else ""
        return _none(f"{settings.metric} does not follow from the classes that are there{why}")
    score, interval = newest["scores"].get(settings.metric) or {}, ""
    low, high = score.get("low"), score.get("high")
    of_these = all(name in classes for name, count in support.items() if count)
    if of_these and low is not None and high is not None:
        interval = f" [{low:.3f}, {high:.3f}]"
    over = f"classes {', '.join(classes)}" + (f"; {too_few}" if too_few else "")
    return Verdict(
        value,
        classes,
        f"{settings.metric} on the newest labelled data is {value:.3f}{interval} ({segments} "
        f"segments of {persons} persons; {over})",
    )


def judge(session: Session, settings: Settings, model: str, kept: Evaluation) -> None:
    """Suspend the model, or release it, by the staff's rule where there is one.

    kept: an evaluation of the version in production, of as many recordings as the watch says;
    another one has no consequence.
    """
    watch = watches.current(session, model)
    if watch is None or watch.suspend_below is None or kept.result["asked"] != watch.newest:
        return
    found, limit = verdict(watch, kept.result), watch.suspend_below
    suspended = suspensions.current(session, model)
    low = found.value is not None and found.value < limit
    if suspended is None:
        if low:
            reason = f"{found.words}, below the staff's limit {limit:g}"
            new = suspensions.suspend(session, settings, model, reason, by=None, ruled=True)
            kept.result = kept.result | {"suspends": new.id, "suspends_over": found.classes}
    elif suspended.ruled and not low:
        if why := _stays(session, suspended, found):
            _tell_once(session, settings, model, kept, suspended, why)
        else:
            reason = f"{found.words}, no longer below the staff's limit {limit:g}"
            suspensions.release(session, settings, model, reason, by=None)


def _stays(session: Session, suspended: Suspension, found: Verdict) -> str:
    """Why a verdict that is not below the limit does not end a suspension; "" where it does."""
    if found.value is None:
        return found.words
    made = _naming(session, suspended.model, "suspends", suspended.id)
    if made is None:
        return "the evaluation that suspended it is not here any more"
    if lacking := [name for name in made.result["suspends_over"] if name not in found.classes]:
        return f"{found.words}, and it was suspended over {', '.join(lacking)} too"
    return ""


def _tell_once(
    session: Session,
    settings: Settings,
    model: str,
    kept: Evaluation,
    suspended: Suspension,
    why: str,
) -> None:
    """Say that nothing ends a suspension at present, of each one once."""
    if _naming(session, model, "leaves", suspended.id) is None:
        suspensions.tell_that_it_stays(session, settings, model, why)
    kept.result = kept.result | {"leaves": suspended.id}


def _naming(session: Session, model: str, name: str, value: str) -> Evaluation | None:
    """An evaluation in which this is noted."""
    noted = Evaluation.result[name].as_string() == value
    return session.scalar(select(Evaluation).where(Evaluation.model == model, noted).limit(1))


def _none(why: str) -> Verdict:
    return Verdict(None, (), f"no verdict: {why}")


def _enough(support: dict[str, int]) -> list[str]:
    return [name for name, count in support.items() if count >= EXAMPLES]


def _over(classes: tuple[str, ...], metric: str, newest: dict[str, Any]) -> float | None:
    """The metric over these classes, as `measured.deviation` takes it."""
    names = tuple(newest["support"])
    one_of_each = np.diag([float(name in classes) for name in names])[np.newaxis]
    known = paired.known(Answers(names, (("", ""),), one_of_each))
    if not classes or metric not in known:
        return None
    return float(known[metric](np.array(newest["confusion"], np.float64)[np.newaxis])[0])
