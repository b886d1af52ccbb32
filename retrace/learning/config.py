"""config.json of a checkpoint, checked before anything is built from it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, ValidationError

from retrace import registry
from retrace.errors import InputError
from retrace.scoring.scores import RULES


class _Model(BaseModel):
    name: str
    options: dict[str, Any]
    features: list[str] = []


class _Config(BaseModel):
    """What the stage `train` writes, as far as an evaluation reads it."""

    model_config = ConfigDict(strict=True)

    format: Literal[1]
    classes: Annotated[list[str], Field(min_length=2)]
    model: _Model
    shape: Annotated[list[PositiveInt], Field(min_length=2, max_length=3)]
    domain: dict[str, Any]
    aggregate: Literal[RULES]  # type: ignore[valid-type]
    temperature: Annotated[FiniteFloat, Field(gt=0)]
    thresholds: list[FiniteFloat]


def check(folder: Path) -> None:
    """Raise InputError where the checkpoint in `folder` has no config.json of ours."""
    path = folder / "config.json"
    section: tuple[str, ...] = ()
    try:
        config = _Config.model_validate_json(path.read_bytes())
        if config.model.name not in (known := registry.names("models")):
            raise _refused(path, f"model.name {config.model.name!r} is none of {', '.join(known)}")
        section = ("model", "options")
        registry.options("models", config.model.name).model_validate(config.model.options)
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no config.json there; a checkpoint is a folder with config.json and "
            "weights.safetensors, as models/checkpoint is: run dvc repro train, or retrace recipe "
            "NAME --trained for a published one"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (*section, *first["loc"])))
        raise _refused(path, f"{place or 'the whole'}: {first['msg']}") from None
    if len(config.thresholds) != len(config.classes):
        raise _refused(
            path, f"{len(config.thresholds)} thresholds for {len(config.classes)} classes"
        )


def _refused(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: {what}; it must be what the train stage wrote: run dvc repro train, or dvc pull"
    )
