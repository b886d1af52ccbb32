"""Suspensions: while one is in force a model gives no answers; all else goes on."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from retrace.service import audit, registry, watches
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import now
from retrace.service.tables_models import Suspension


def current(session: Session, model: str) -> Suspension | None:
    """The suspension in force."""
    chosen = select(Suspension).where(Suspension.model == model, Suspension.released.is_(None))
    return session.scalar(chosen)


def suspend(
    session: Session,
    settings: Settings,
    model: str,
    reason: str,
    *,
    by: str | None,
    ruled: bool = False,
) -> Suspension:
    """Let a model give no answers, and tell whom its watch names.

    reason: without a full stop; it is what predict says. by: user id. ruled: a rule of the staff
    did it, so that performance that is back ends it. Whoever suspends by hand what a rule has
    suspended takes that over: then only a hand ends it. Problem 409 where it is suspended already.
    """
    registry.alone(session, model)
    found = current(session, model)
    if found is not None and (ruled or not found.ruled):
        raise Problem(409, f"{model}: suspended already; GET /monitoring/{model} says why")
    if found is None:
        found = Suspension(model=model)
        session.add(found)
    found.reason, found.by, found.ruled = reason, by, ruled
    session.flush()
    audit.record(session, "model.suspended", by=by, subject=model[:64], id=found.id, ruled=ruled)
    ends = "when performance is back, or when" if ruled else "when"
    text = (
        f"{model} gives no answers: {reason}.\n\nAll else goes on. "
        f"They come back {ends} staff or an admin release it."
    )
    watches.tell(session, settings, model, "suspended", text)
    return found


def unruled(session: Session, settings: Settings, model: str) -> None:
    """Tell where the staff take a limit away by which a model is suspended: nothing ends that."""
    if (found := current(session, model)) is not None and found.ruled:
        tell_that_it_stays(session, settings, model, "its limit was taken away")


def tell_that_it_stays(session: Session, settings: Settings, model: str, why: str) -> None:
    """Mail that a suspension by rule does not end by itself."""
    text = f"{why}.\n\nStaff and admins release it with POST /monitoring/{model}/release."
    watches.tell(session, settings, model, "stays suspended", text)


def release(
    session: Session,
    settings: Settings,
    model: str,
    reason: str,
    *,
    by: str | None,
) -> Suspension:
    """Let it answer again, and tell the same; Problem 409 where it is not suspended."""
    registry.alone(session, model)
    found = current(session, model)
    if found is None:
        raise Problem(409, f"{model}: not suspended, so there is nothing to release")
    found.released, found.released_by, found.release_reason = now(), by, reason
    audit.record(session, "model.released", by=by, subject=model[:64], id=found.id)
    since = f"{found.created:%Y-%m-%d %H:%M} UTC"
    text = f"{model} answers again; it was suspended since {since}: {found.reason}.\n\n{reason}"
    watches.tell(session, settings, model, "released", text.rstrip())
    return found
