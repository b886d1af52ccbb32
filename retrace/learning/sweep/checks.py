"""What is wrong with a space, told before the first trial starts."""

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from retrace import params, registry
from retrace.errors import InputError
from retrace.learning.sweep.spaces import INPUT, MODEL, Param, Space
from retrace.params_problems import hint

# What a sweep may not change, and why: the trials would not be judged alike.
_SET_BY_SWEEP = {
    "epochs": "--max-epochs sets it",
    "threads": "--cpus sets it",
    "seed": "every trial has that of params.yaml: set it there",
    "train.score": "--score sets it",
}
_SAME_MACHINE = "it is the machine's, not the model's: set it in params.yaml"
_SAME_DATA = "all trials must answer the same recordings: set it in params.yaml"
_AFTER = "it is of what follows the training: set it in params.yaml"
_DENIED = {
    **dict.fromkeys(("dataset", "datasets", "synthetic", "fetch", "split"), _SAME_DATA),
    **dict.fromkeys(("bandpass.unusable", "segment.anchor"), _SAME_DATA),
    **dict.fromkeys(("segment.short", "segment.flat"), _SAME_DATA),
    **dict.fromkeys(("evaluate", "robustness"), _AFTER),
    **{
        f"train.{key}": _SAME_MACHINE
        for key in (
            "accelerator",
            "devices",
            "nodes",
            "strategy",
            "precision",
            "compile",
            "workers",
        )
    },
}


def lay(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a params.yaml with other values at dotted keys, which it must have."""
    tree: dict[str, Any] = copy.deepcopy(dict(base))
    for key, value in values.items():
        *parents, last = key.split(".")
        section = tree
        for parent in parents:
            section = section[parent]
        section[last] = value
    return tree


def check(space: Space, base: Mapping[str, Any]) -> None:
    """Raise one InputError with all keys and values that params.yaml would not take.

    base: the tree of a valid params.yaml.
    """
    problems = list(_keys(space, base)) or list(_values(space, base))
    if problems:
        lines = (f"{space.name}.yaml: {problem}" for problem in dict.fromkeys(problems))
        raise InputError("\n       ".join(lines))


def _keys(space: Space, base: Mapping[str, Any]) -> Iterator[str]:
    known = list(_flat(base))
    chosen = _models(space)
    for key in (*(param.key for param in space.params), *space.fixed):
        parts = key.split(".")
        parents = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        why = next(
            (rules[p] for rules in (_SET_BY_SWEEP, _DENIED) for p in parents if p in rules), ""
        )
        if why:
            yield f"{key}: a sweep may not change it; {why}"
        elif key not in known:
            close = [name for name in known if name.split(".")[-1] == parts[-1]] or known
            yield f"{key}: unknown key{_short_hint(key, close, known)}"
        elif parts[0] == "models" and parts[1] not in chosen:
            yield (
                f"{key}: no trial is of that model (model.name is {' or '.join(chosen)}): remove "
                "it, or name the model"
            )


def _short_hint(key: str, close: list[str], known: list[str]) -> str:
    found = difflib.get_close_matches(key, close, 1, 0.3) or difflib.get_close_matches(
        key, known, 1
    )
    return f"; did you mean {found[0]!r}?" if found else "; params.yaml has every key: correct it"


def _models(space: Space) -> list[str]:
    """The models that trials may have."""
    for param in space.params:
        if param.key == MODEL:
            return [str(name) for name in param.ends()]
    return [space.model]


def _values(space: Space, base: Mapping[str, Any]) -> Iterator[str]:
    """What the schema refuses: of each param each choice and both ends, beside fixed values."""
    for model in _models(space):
        if model not in registry.names("models"):
            yield f"{MODEL}: {model!r}: unknown{hint(model, registry.names('models'))}"
            continue
        here = {**space.fixed, MODEL: model}
        if INPUT not in space.fixed:
            here[INPUT] = registry.model_input(model)
        if problems := list(_refused(base, here)):
            yield from problems
            continue
        mine = [param for param in space.params if _of(model, param) and param.key != MODEL]
        for param in mine:
            for end in param.ends():
                yield from _refused(base, {**here, param.key: end})


def _of(model: str, param: Param) -> bool:
    return not param.key.startswith("models.") or param.key.split(".")[1] == model


def _refused(base: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    try:
        params.checked(lay(base, values))
    except InputError as error:
        yield from (line.strip().removeprefix("params.yaml: ") for line in str(error).split("\n"))


def _flat(tree: Mapping[str, Any], below: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{below}{key}.")
        else:
            yield f"{below}{key}"
