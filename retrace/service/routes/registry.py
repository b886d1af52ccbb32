"""The registry: versions of models, which of them is in production, promotion and the way back."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse

from retrace.errors import InputError
from retrace.service import compared, registry
from retrace.service import registry_files as files
from retrace.service import registry_rows as rows
from retrace.service.access import Admin, Member, Scientist
from retrace.service.problems import Problem, errors
from retrace.service.routes.health import Text
from retrace.service.routes.versions import (
    Back,
    Chosen,
    Listed,
    Measured,
    Name,
    Number,
    Promoted,
    Row,
    Shown,
    Wanted,
    promoted,
    shown,
)
from retrace.service.state import Running, Service
from retrace.service.tables_models import Version

router = APIRouter(prefix="/registry", tags=["registry"])


@router.get("", summary="All models of the registry", responses=errors(401, 403))
def listed(service: Running, who: Member) -> list[Row]:
    """Every model with the version that answers and its metrics."""
    with service.database.read() as session:
        said = []
        suspended = rows.suspended(session)
        for model, count in rows.models(session):
            here = registry.production(session, model)
            why = suspended.get(model)
            said.append(
                Row(
                    model=model,
                    production=here.number if here else None,
                    version=here.weights[:12] if here else None,
                    metrics=here.metrics if here else None,
                    versions=count,
                    suspended=why.reason if why else None,
                )
            )
    return said


@router.get("/{model}", summary="The versions of a model", responses=errors(401, 403, 404, 422))
def model(
    service: Running,
    who: Member,
    model: Name,
    limit: Annotated[int, Query(ge=1, le=1000, description="of each list")] = 100,
) -> Listed:
    """Its versions with metrics, comparison, data and the state of their files, and its history in
    production: who put which version there, when and why."""
    with service.database.read() as session:
        found = registry.versions(session, model, limit)
        if not found:
            raise _unknown(model)
        here, suspended = registry.production(session, model), rows.suspended(session)
        return Listed(
            model=model,
            production=here.number if here else None,
            suspended=suspended[model].reason if model in suspended else None,
            versions=[shown(service.settings, one, here, whole=False) for one in found],
            promotions=[Promoted(**promoted(*one)) for one in rows.history(session, model, limit)],
        )


@router.get(
    "/{model}/metrics",
    summary="How good the version in production is",
    responses=errors(401, 403, 404, 422),
)
def metrics(service: Running, who: Member, model: Name) -> Measured:
    """The scores of its own run, and the latest evaluation by the monitoring."""
    with service.database.read() as session:
        here = registry.production(session, model)
        if here is None:
            raise _unknown(model)
        latest = rows.evaluated(session, here)
    evaluation = None
    if latest:
        evaluation = {name: getattr(latest, name) for name in ("id", "created", "result")}
    return Measured(
        model=model, production=here.number, metrics=here.metrics, evaluation=evaluation
    )


@router.get(
    "/{model}/versions/{number}", summary="One version", responses=errors(401, 403, 404, 422)
)
def version(service: Running, who: Member, model: Name, number: Annotated[Number, Path()]) -> Shown:
    """A version with all that is known of it, and the ids of the recordings it was trained on."""
    with service.database.read() as session:
        found = registry.version(session, model, number)
        return shown(service.settings, found, registry.production(session, model), whole=True)


@router.get(
    "/{model}/versions/{number}/params",
    summary="Its params.yaml",
    response_class=Text,
    responses=errors(401, 403, 404, 422)
    | {200: {"content": {"text/plain": {"example": "seed: 0\nlr: 0.001\n"}}}},
)
def params(
    service: Running, who: Member, model: Name, number: Annotated[Number, Path()]
) -> PlainTextResponse:
    """The params that it was trained with."""
    with service.database.read() as session:
        return PlainTextResponse(registry.version(session, model, number).params)


@router.get(
    "/{model}/versions/{number}/lock",
    summary="Its dvc.lock",
    response_class=Text,
    responses=errors(401, 403, 404, 422)
    | {200: {"content": {"text/plain": {"example": "schema: '2.0'\nstages:\n  fetch: ...\n"}}}},
)
def lock(
    service: Running, who: Member, model: Name, number: Annotated[Number, Path()]
) -> PlainTextResponse:
    """The hashes of everything that it was made from."""
    with service.database.read() as session:
        return PlainTextResponse(registry.version(session, model, number).lock)


@router.post(
    "/{model}/promote",
    summary="Put a version into production",
    responses=errors(401, 403, 404, 409, 422),
)
def promote(service: Running, who: Scientist, model: Name, wanted: Wanted) -> Chosen:
    """The version answers from now on; in other processes of the service within two seconds. By
    `best` the version with the highest score on the validation part is taken, among those with the
    same validation part as the one in production. The test score is never asked."""
    settings, skipped = service.settings, dict[str, str]()
    with service.database.read() as session:
        number = wanted.version
        if wanted.best is not None:
            number, skipped = rows.best(session, settings, model, wanted.best)
        assert number is not None
        chosen = registry.version(session, model, number)
    _check_answers(service, chosen)
    with service.database.write() as session:
        made = registry.promote(
            session,
            settings,
            model,
            number,
            by=who.user_id,
            reason=wanted.reason,
            expected=wanted.expected,
        )
        chosen = registry.version(session, model, number)
    service.follower.changed()
    said = compared.words(chosen.comparison)
    return Chosen(**promoted(made, chosen), compared=said, skipped=skipped)


@router.post(
    "/{model}/rollback",
    summary="Put the version before into production again",
    responses=errors(401, 403, 404, 409, 422),
)
def rollback(service: Running, who: Scientist, model: Name, back: Back | None = None) -> Promoted:
    """Undo the latest promotion; once more, and the one before it is undone too."""
    said = back or Back()
    with service.database.read() as session:
        chosen = session.get_one(Version, registry.earlier(session, model).version_id)
    _check_answers(service, chosen)
    with service.database.write() as session:
        made = registry.rollback(
            session,
            service.settings,
            model,
            by=who.user_id,
            reason=said.reason,
            expected=said.expected,
        )
        chosen = session.get_one(Version, made.version_id)
    service.follower.changed()
    return Promoted(**promoted(made, chosen))


@router.delete(
    "/{model}/versions/{number}",
    status_code=204,
    summary="Remove the files of a version",
    responses=errors(401, 403, 404, 409, 422),
)
def remove(service: Running, who: Admin, model: Name, number: Annotated[Number, Path()]) -> None:
    """Admins only. What is known of the version stays, so that its answers can be traced. 409 for
    the one in production, and for one that a rollback would return to."""
    with service.database.write() as session:
        gone = registry.remove(session, model, number, by=who.user_id)
    files.discard(service.settings.home, gone.id)


def _check_answers(service: Service, chosen: Version) -> None:
    """Refuse a version that cannot be opened, before anything is locked: 409."""
    try:
        registry.predictor(service.settings, chosen)
    except (InputError, OSError) as error:
        raise Problem(409, str(error).replace(f"{service.settings.home}/", "")) from None


def _unknown(model: str) -> Problem:
    return Problem(404, f"model {model}: not in the registry: GET /registry lists models")
