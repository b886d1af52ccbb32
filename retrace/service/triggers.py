"""What lets a training begin by itself: the metric below a limit, wrong answers, new samples."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.service import audit, monitor, registry, trainings, verdicts, watches
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Job
from retrace.service.tables_models import Evaluation, Version
from retrace.service.tallies import samples, wrong

LOG = logging.getLogger(__name__)
KINDS = ("below", "wrong", "samples")


@dataclass(frozen=True)
class Counter:
    """How near a trigger is. value: the metric, or a count; None: not known. limit: of the staff.
    since: when counting began; of a metric, when it came last. met: whether it is due. words: all
    of that."""

    value: float | None
    limit: float
    since: datetime | None
    met: bool
    words: str


def counters(session: Session, model: str, settings: watches.Settings) -> dict[str, Counter]:
    """Each trigger that the staff have set, by its kind.

    What is counted begins when the newest version was made, or when the same trigger came last:
    so one cause begins one training, whatever became of that.
    """
    production, rule = registry.production(session, model), settings.retrain
    if production is None or rule is None:
        return {}
    last = _last(session, model)
    newest = registry.versions(session, model, limit=1)[0]
    made = _made(session, newest)
    since = {kind: max(made, last[kind].created) if kind in last else made for kind in KINDS}
    said = {}
    if rule.below is not None:
        said["below"] = _below(session, model, settings, rule.below, production, last.get("below"))
    if rule.wrong is not None:
        count = wrong(session, production, since["wrong"])
        said["wrong"] = _counted(count, rule.wrong, since["wrong"], "answers wrong by feedback")
    if rule.samples is not None:
        known = frozenset(newest.data.get("recordings") or ())
        count = samples(session, since["samples"], known)
        said["samples"] = _counted(count, rule.samples, since["samples"], "newly labelled beats")
    return said


def fire(service: Service, model: str, settings: watches.Settings) -> Job | None:
    """Begin a training where a trigger is met and none of this model is open, and tell so.

    One that cannot be (too little data) is told too, and asked for again with the next cause.
    Problem 503 where nobody can train at present: then the trigger stays met.
    """
    if settings.retrain is None:
        return None
    with service.database.read() as session:
        if not _met(session, model, settings):
            return None
    asked = settings.retrain.training.model_copy(update={"model": model})
    form, refused = None, None
    try:
        # It may ask a trainer: outside of a transaction.
        form = trainings.check(service.settings, asked)
    except (InputError, Problem) as error:
        if isinstance(error, Problem) and error.status == 503:
            raise
        refused = str(error)
    with service.database.write() as session:
        registry.alone(session, model)  # or two workers would begin two
        if watches.current(session, model) != settings:
            return None
        if not (met := _met(session, model, settings)):
            return None
        why = "; ".join(counter.words for counter in met.values())
        job = None
        if refused is None:
            try:
                with session.begin_nested():
                    job = trainings.submit(session, None, service.settings, asked, why, form)
            except (InputError, Problem) as error:
                refused = str(error)
        _keep(session, service, model, list(met), why, job, refused)
        return job


def follow(service: Service, model: str) -> None:
    """Tell once where the last training that began by itself has failed, or was cancelled."""
    with service.database.read() as session:
        if _ended(session, model) is None:
            return
    with service.database.write() as session:
        registry.alone(session, model)
        if (ended := _ended(session, model)) is None:  # another worker told
            return
        row, job = ended
        row.result = row.result | {"state": job.state}
        why = f"{job.error}." if job.error else ""
        text = f"It had begun because of: {row.result['why']}.\n\nJob {job.id}: {job.state}. {why}"
        watches.tell(session, service.settings, model, f"a training {job.state}", text.rstrip())


def _below(
    session: Session,
    model: str,
    settings: watches.Settings,
    limit: float,
    production: Version,
    last: Evaluation | None,
) -> Counter:
    """A bad evaluation begins one training; the next one only where there is enough new to learn
    from, or the staff have set the watch anew. (A training on the same data makes the same model.)
    """
    latest = monitor.counted(session, model, monitor.PERFORMANCE, settings.newest)
    since = last.created if last else None
    if latest is None or latest.version_id != production.id:
        return Counter(None, limit, since, False, "the version in production was not evaluated yet")
    found = verdicts.verdict(settings, latest.result)
    if (value := found.value) is None:
        return Counter(None, limit, since, False, found.words)
    low = value < limit
    met = low and (last is None or _new(session, model, settings, last, latest))
    relation = "below" if low else "not below"
    return Counter(value, limit, since, met, f"{found.words}, {relation} {limit:g}")


def _new(
    session: Session,
    model: str,
    settings: watches.Settings,
    last: Evaluation,
    latest: Evaluation,
) -> bool:
    """Whether the latest evaluation is another cause than that of the last trigger: with as many
    new beats as begin a training by themselves, else as many as a verdict needs."""
    watch = watches.row(session, model)
    if watch is not None and watch.created > last.created:
        return True
    rule = settings.retrain
    if rule is None or rule.training.data == "recipe" or latest.created <= last.created:
        return False
    return samples(session, last.created, frozenset()) >= (rule.samples or settings.least)


def _counted(count: int, limit: int, since: datetime, what: str) -> Counter:
    words = f"{count} {what} since {since:%Y-%m-%d %H:%M} UTC, limit {limit}"
    return Counter(count, limit, since, count >= limit, words)


def _met(session: Session, model: str, settings: watches.Settings) -> dict[str, Counter]:
    if monitor.open_job(session, trainings.KIND, model):
        return {}
    found = counters(session, model, settings)
    return {kind: counter for kind, counter in found.items() if counter.met}


def _last(session: Session, model: str) -> dict[str, Evaluation]:
    """When each kind of trigger came last; each one led to a training, so they are few."""
    found: dict[str, Evaluation] = {}
    for row in monitor.found(session, model, monitor.TRIGGER, limit=1000):
        for kind in row.result["kinds"]:
            found.setdefault(kind, row)
    return found


def _made(session: Session, version: Version) -> datetime:
    """When the data of a version was gathered: what came during its training is new."""
    job = session.get(Job, version.job_id) if version.job_id else None
    return job.created if job else version.created


def _ended(session: Session, model: str) -> tuple[Evaluation, Job] | None:
    """The last trigger and its training, where that came to nothing and nobody was told."""
    for row in monitor.found(session, model, monitor.TRIGGER):
        job = session.get(Job, row.result["job"]) if row.result["job"] else None
        if job and job.state in ("failed", "cancelled") and "state" not in row.result:
            return row, job
    return None


def _keep(
    session: Session,
    service: Service,
    model: str,
    kinds: list[str],
    why: str,
    job: Job | None,
    refused: str | None,
) -> None:
    production = registry.production(session, model)
    assert production is not None
    result: dict[str, Any] = {"kinds": kinds, "why": why, "job": job and job.id, "refused": refused}
    session.add(
        Evaluation(model=model, version_id=production.id, kind=monitor.TRIGGER, result=result)
    )
    number = job.id if job else None
    audit.record(session, "training.trigger", by=None, subject=model[:64], job=number)
    if refused is None:
        subject, text = "a training begins", f"Because of: {why}.\n\nIts job is {number}."
    else:
        subject = "a training could not begin"
        text = f"It was due because of: {why}.\n\nBut: {refused}."
    watches.tell(session, service.settings, model, subject, text)
