"""An answer as it is given and kept: judged by the staff's rules, as JSON, and in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session, defer

from retrace.deploy.answers import STATEMENT, Answer
from retrace.deploy.judged import Judged, Limits
from retrace.deploy.summary import summary
from retrace.service import alerts, tables
from retrace.service.access import Principal
from retrace.service.pool import Model
from retrace.service.problems import Problem
from retrace.service.rules import Verdict
from retrace.service.writer import Entry

if TYPE_CHECKING:
    from retrace.service.state import Service

DECIMALS = 6  # of a probability, as `retrace predict` writes it


def judged(
    service: Service,
    user_id: str,
    answer: Answer,
    model: Model,
    *,
    kind: str,
    recording_id: str | None = None,
    signal: NDArray[np.float32] | None = None,
    truth: str | None = None,
    placed: bool = True,
) -> tuple[Entry, bytes]:
    """An answer behind the staff's rules: its row for `writer.insert_all`, and its JSON.

    Nothing is kept yet, and until it is, the JSON must not be given away. kind, truth: see
    `tables.Prediction`. signal: what was sent as numbers. placed: whether the segments have a place
    in a recording.
    """
    rules = service.rules.current()
    verdict = rules.judge(answer, placed)
    said = {
        "id": tables.new_id(),
        **model.head,
        "statement": STATEMENT,
        "recording": recording_id,
        "truth": truth,
        "flagging": {"set": verdict.set, "flagged": verdict.flagged, "sentence": verdict.flagging},
        "uncertainty": {"set": rules.reject is not None, "sentence": verdict.doubt},
        "segments": _segments(answer, verdict, placed),
        "flags": [
            {"level": flag.level, "class": flag.name, "reason": flag.reason}
            for flag in verdict.flags
        ],
        **_whole(answer, rules.reject, placed),
    }
    body = orjson.dumps(said)
    row = {
        "id": said["id"],
        "user_id": user_id,
        "recording_id": recording_id,
        "kind": kind,
        "model": model.name,
        "version": model.version,
        "segments": len(answer.samples),
        "flagged": verdict.flagged,
        "answer": body,
        "signal": None if signal is None else np.ascontiguousarray(signal, "<f4").tobytes(),
        "shape": None if signal is None else list(signal.shape),
        "truth": truth,
        "created": tables.now(),
    }
    beside = None
    if verdict.flags and kind != "random":  # of the test part: nobody waits for help
        beside = partial(
            alerts.raised, prediction_id=said["id"], verdict=verdict, settings=service.settings
        )
    return Entry(row, Counter(segment["class"] for segment in said["segments"]), beside), body


def _segments(answer: Answer, verdict: Verdict, placed: bool) -> list[dict[str, Any]]:
    best = answer.best.tolist()
    probabilities = np.round(answer.probabilities, DECIMALS).tolist()
    nothing = [None] * len(best)
    samples = answer.samples.tolist() if placed else nothing
    flagged = nothing if verdict.segments is None else verdict.segments.tolist()
    uncertain = nothing if verdict.uncertain is None else verdict.uncertain.tolist()
    return [
        {
            "sample": sample,
            "seconds": None if sample is None else round(sample / answer.fs, DECIMALS),
            "class": answer.classes[number],
            "probability": row[number],
            "probabilities": row,
            "uncertain": doubtful,
            "flagged": flag,
        }
        for sample, number, row, doubtful, flag in zip(
            samples, best, probabilities, uncertain, flagged, strict=True
        )
    ]


def _whole(answer: Answer, reject: float | None, placed: bool) -> dict[str, Any]:
    """What is said of the recording; nothing of segments that came without one."""
    if not placed:
        return {"fs": None, "seconds": None, "leads": [], "summary": None, "left_out": [],
                "quality": []}  # fmt: skip
    return {
        "fs": answer.fs,
        "seconds": round(answer.seconds, DECIMALS),
        "leads": list(answer.leads),
        "summary": summary(Judged(answer, Limits(reject=reject))),
        "left_out": [
            {"sample": sample, "seconds": round(sample / answer.fs, DECIMALS), "reason": reason}
            for sample, reason in sorted(answer.left_out)
        ],
        "quality": [{"seconds": round(start, 3), "signal": word} for start, word in answer.quality],
    }


def of_recording(
    service: Service,
    user_id: str,
    row: tables.Recording,
    *,
    model: str | None,
    lead: str | None = None,
    detect: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[Entry, bytes]:
    """Answer a stored recording: the work of a job of kind "recording", whose request is
    {"model", "lead", "detect"}. `writer.insert_all(session, [entry])` keeps it; its id is
    `entry.row["id"]`.

    Raises InputError for a recording that the model cannot take, Problem 404 or 503 for a model
    that is not there.
    """
    from retrace.service import recordings

    chosen = service.models.get(model)
    answer = chosen.usable.answer(
        recordings.opened(service, row), lead=lead, detect=detect, progress=progress
    )
    return judged(service, user_id, answer, chosen, kind="recording", recording_id=row.id)


def seen_by(who: Principal) -> ColumnElement[bool]:
    """Which predictions somebody may see: staff all, others their own."""
    return true() if who.role == "staff" else tables.Prediction.user_id == who.user_id


def visible(session: Session, who: Principal, prediction_id: str) -> tables.Prediction:
    """A prediction by its id, its signal not read yet; Problem 404 where there is none that `who`
    may see."""
    wanted = select(tables.Prediction).where(tables.Prediction.id == prediction_id, seen_by(who))
    wanted = wanted.options(defer(tables.Prediction.signal))
    if (found := session.scalar(wanted)) is None:
        raise Problem(404, f"prediction {prediction_id[:40]}: none that you may see has this id")
    return found


def told(row: tables.Prediction) -> dict[str, Any]:
    """The JSON of a prediction as it was given."""
    found: dict[str, Any] = orjson.loads(row.answer)
    return found
