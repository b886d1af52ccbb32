"""The models that can be asked."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from retrace.service.access import Member
from retrace.service.pool import Model, Models
from retrace.service.problems import errors
from retrace.service.routes.answers import ABOUT, DOMAIN
from retrace.service.state import Running

router = APIRouter(prefix="/models", tags=["models"])
Name = Annotated[str, Path(max_length=100)]


class Shown(BaseModel):
    """A model. usable: whether it can answer; why_not: what has to be done where it cannot.
    number: of its version in the registry. suspended: why it gives no answers at present. shape:
    of a segment, (leads, samples) or (leads, scales, frames). features: what it asks for beside
    one, only a recording can tell. aggregate: how a recording's windows are joined. weights:
    whether they are those that were published or registered; "not checked" where another process
    answers that does not tell their hash."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": ABOUT
            | {
                "usable": True,
                "why_not": None,
                "suspended": None,
                "number": 1,
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
    suspended: str | None
    default: bool
    version: str
    number: int | None
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
    """Every model that is served, published or trained here, with what it takes and answers. One
    that is missing or damaged stays in the list and says why it cannot be used; the others
    answer."""
    return [_shown(model, service.models) for model in service.models]


@router.get("/{name}", summary="One model", responses=errors(401, 403, 404, 422))
async def shown(service: Running, who: Member, name: Name) -> Shown:
    """What a model takes and answers, and what it was trained on."""
    return _shown(service.models.listed(name), service.models)


def _shown(model: Model, models: Models) -> Shown:
    said: dict[str, Any] = {
        "name": model.name,
        "version": model.version,
        "usable": model.predictor is not None,
        "why_not": model.why_not,
        "suspended": models.suspended.get(model.name),
        "number": model.number,
        "default": model.name == models.default,
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
