"""The file name is the registry: what is in `datasets/` and `models/` can be named in params.

A model or data set is described by its own source file: the constant INPUT and the keyword-only
arguments of its `build` or `records`. They are read with `ast` and not by importing, so that
params.yaml is checked in milliseconds and without torch, before any stage runs.
"""

import ast
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

_ROOT = Path(__file__).parent
_TYPES: dict[str, object] = {"Annotated": Annotated, "Field": Field, "Literal": Literal}


def names(kind: Literal["datasets", "models"]) -> list[str]:
    """The names that `dataset.name` or `model.name` may have."""
    return sorted(path.stem for path in (_ROOT / kind).glob("[a-z]*.py"))


@cache
def _source(kind: str, name: str) -> ast.Module:
    return ast.parse((_ROOT / kind / f"{name}.py").read_text(encoding="utf-8"))


def model_input(name: str) -> str:
    """What the model takes: "scalograms" or "waveforms", its constant INPUT."""
    for node in _source("models", name).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "INPUT" for target in node.targets
        ):
            return str(ast.literal_eval(node.value))
    raise TypeError(f"retrace/models/{name}.py does not set INPUT")


def is_network(name: str) -> bool:
    """Whether the model is trained epoch by epoch: whether its `build` returns an nn.Module."""
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "build"
        and node.returns is not None
        and ast.unparse(node.returns) == "nn.Module"
        for node in _source("models", name).body
    )


@cache
def options(kind: Literal["datasets", "models"], name: str) -> type[BaseModel]:
    """The schema of `models.<name>` or `datasets.<name>`: the function's own signature."""
    entry = {"datasets": "records", "models": "build"}[kind]
    for node in _source(kind, name).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            fields: dict[str, Any] = {
                argument.arg: (_evaluate(argument.annotation), ...)
                for argument in node.args.kwonlyargs
            }
            return create_model(
                name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields
            )
    raise TypeError(f"retrace/{kind}/{name}.py does not define {entry}()")


def _evaluate(annotation: ast.expr | None) -> object:
    """An annotation of our own source as a type; it may use built-ins and _TYPES."""
    if annotation is None:
        raise TypeError("every keyword-only argument needs a type")
    return eval(ast.unparse(annotation), _TYPES.copy())
