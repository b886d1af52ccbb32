"""Times in which a model gives no answers: who made them, and who ends them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import select

from retrace.service import suspensions
from retrace.service.access import Allowed, Member, Principal
from retrace.service.problems import errors
from retrace.service.routes.monitored import Reason, Suspended, known, suspended_shown
from retrace.service.routes.versions import Name
from retrace.service.state import Running
from retrace.service.tables_models import Suspension

router = APIRouter()  # a part of that of monitoring
StaffOrAdmin = Annotated[Principal, Depends(Allowed("staff", "admin"))]


@router.get("/suspensions", summary="Times without answers", responses=errors(401, 403, 404, 422))
def suspended(
    service: Running,
    who: Member,
    model: Name,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Suspended]:
    """The suspensions of a model, the newest first."""
    chosen = select(Suspension).where(Suspension.model == model)
    with service.database.read() as session:
        known(service, session, model)
        rows = session.scalars(chosen.order_by(Suspension.id.desc()).limit(limit))
        return [suspended_shown(row) for row in rows]


@router.post("/suspend", summary="Suspend a model", responses=errors(401, 403, 404, 409, 422))
def suspend(service: Running, who: StaffOrAdmin, model: Name, given: Reason) -> Suspended:
    """Staff and admins. Within seconds predict answers 503 with the reason; all else goes on.
    Performance does not end it: POST release does. What a rule has suspended is taken over."""
    with service.database.write() as session:
        known(service, session, model)
        settings = service.settings
        row = suspensions.suspend(session, settings, model, given.reason, by=who.user_id)
    service.follower.changed()
    return suspended_shown(row)


@router.post(
    "/release", summary="Let a model answer again", responses=errors(401, 403, 404, 409, 422)
)
def release(service: Running, who: StaffOrAdmin, model: Name, given: Reason) -> Suspended:
    """Staff and admins. Where the staff's rule still holds, the next evaluation suspends the model
    again: change the watch, too."""
    with service.database.write() as session:
        known(service, session, model)
        settings = service.settings
        row = suspensions.release(session, settings, model, given.reason, by=who.user_id)
    service.follower.changed()
    return suspended_shown(row)
