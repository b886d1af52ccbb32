"""The models that can be asked."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from retrace.service.access import Member
from retrace.service.pool import Model
from retrace.service.problems import errors
from retrace.service.routes.answers import ABOUT, DOMAIN
from retrace.service.state import Running

router = APIRouter(prefix="/models", tags=["models"])
Name = Annotated[str, Path(max_length=100)]


class Shown(BaseModel):
    """A model. usable: whether it can answer; why_not: what has to be done where it cannot.
    shape: of a segment, (leads, samples) or (leads, scales, frames). features: what it asks for
    beside one, only a recording can tell. aggregate: how a recording's windows are joined.
    weights: whether they are those that were published; "not checked" where another process
    answers that does not tell their hash."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": ABOUT
            | {
                "usable": True,
                "why_not": None,
                "default": False,
                "unit": "beat",
                "classes": {"N": "Normal", "S": "Supraventricular", "V": "Ventricular"},
                "domain": DOMAIN | {"name": "mitbih360"},
                "shape": [1, 187],
                "features": [],
                "aggregate": "none",
                "weights": "checked",
            }
        }
    )
    name: str
    usable: bool
    why_not: str | None
    default: bool
    version: str
    network: str | None = None
    dataset: str | None = None
    split: str | None = None
    note: str | None = None
    unit: str | None = None
    classes: dict[str, str] | None = None
    domain: dict[str, Any] | None = None
    shape: list[int] | None = None
    features: list[str] | None = None
    aggregate: str | None = None
    weights: Literal["checked", "not checked", "not asked yet"] | None = None


@router.get("", summary="List the models", responses=errors(401, 403))
async def listed(service: Running, who: Member) -> list[Shown]:
    """Every published model that is served, with what it takes and answers. One that is missing or
    damaged stays in the list and says why it cannot be used; the others answer."""
    return [_shown(model, service.models.default) for model in service.models]


@router.get("/{name}", summary="One model", responses=errors(401, 403, 404, 422))
async def shown(service: Running, who: Member, name: Name) -> Shown:
    """What a model takes and answers, and what it was trained on."""
    return _shown(service.models.listed(name), service.models.default)


def _shown(model: Model, default: str | None) -> Shown:
    said: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "usable": model.predictor is not None,
        "why_not": model.why_not,
        "default": model.name == default,
    }
    if model.card:
        head = model.head
        said |= head["model"] | {name: head[name] for name in ("unit", "classes", "domain")}
        said |= {
            "shape": list(model.card.shape),
            "features": list(model.card.features),
            "aggregate": model.card.aggregate,
            "weights": model.network.weights if model.network else "checked",
        }
    return Shown(**said)
