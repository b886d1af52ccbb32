"""What is wrong with a params.yaml, in sentences: what pydantic says, and what does not fit."""

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from retrace import registry

AAMI = ("N", "S", "V", "F", "Q")

if TYPE_CHECKING:
    from retrace.params import Params


def contradictions(params: "Params") -> list[str]:
    """Values that are each allowed but do not fit each other."""
    problems = []
    for section, low, high in (
        ("bandpass", params.bandpass.low, params.bandpass.high),
        ("cwt", params.cwt.low, params.cwt.high),
    ):
        if low >= high:
            problems.append(f"{section}.low: {low:g} Hz; must be below {section}.high, {high:g}")
    split = params.split
    if split.fold >= split.folds:
        problems.append(f"split.fold: expected 0 to {split.folds - 1}; got {split.fold}")
    if split.val + 1 / split.folds >= 1:
        problems.append(
            f"split: val {split.val:g} and one fold of {split.folds} leave nothing to train on; "
            "together they must stay below 1"
        )
    name = params.dataset.name
    if name in ("wfdb_folder", "collected") and not params.fetch.folder:
        problems.append(f"fetch.folder: empty; dataset {name} needs the folder's path")
    if len(params.classes) < 2:
        problems.append(
            f"datasets.{name}.labels: {len(params.classes)} class; a classifier "
            "needs two or more: map the labels to more"
        )
    annotated = name in ("mitdb", "collected")
    strange = sorted({*params.classes} - {*AAMI}) if annotated else []
    if strange:
        problems.append(
            f"datasets.{name}.labels: class {strange[0]!r}; beats are scored as AAMI classes, "
            f"{', '.join(AAMI)}: map the symbols to these, or to null"
        )
    if "" in params.dataset_options["labels"].values():
        problems.append(
            f"datasets.{name}.labels: '' is no name of a class; write null to leave a label out"
        )
    if params.model.aggregate != "none" and name in ("mitdb", "collected", "heartbeat"):
        problems.append(
            f"model.aggregate: {params.model.aggregate}; beats of {name} have each "
            "their own class: set it to none"
        )
    if params.model.aggregate == "none" and params.segment.anchor != "beat":
        problems.append(
            "model.aggregate: none; windows of a recording have one answer together, only beats "
            "have each their own: set it to mean, or segment.anchor to beat"
        )
    if params.batch_size == 1 and registry.is_network(params.model.name):
        problems.append(
            "batch_size: 1; batch norm needs company, at least 2: raise it (10 or more is usual)"
        )
    if len(set(params.model.features)) < len(params.model.features):
        problems.append("model.features: one stands there twice; name each once")
    if params.model.features and params.segment.anchor != "beat":
        problems.append(
            f"model.features: {', '.join(params.model.features)}; only beats have them: set it to "
            "[], or segment.anchor to beat"
        )
    needed = registry.model_input(params.model.name)
    if params.model.input != needed:
        problems.append(
            f"model.input: {params.model.input!r}; {params.model.name} takes {needed}: "
            f"dvc exp run -S model.name={params.model.name} -S model.input={needed}"
        )
    if params.train.imbalance == "focal" and not registry.is_network(params.model.name):
        problems.append(
            f"train.imbalance: focal; it is a loss of networks, and {params.model.name} is none: "
            "set it to inverse or effective"
        )
    return problems


def hint(name: object, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def sentence(item: Any, schema: type[BaseModel]) -> str:
    """One pydantic error as `key: rule; got value`."""
    *parents, key = item["loc"] or ("",)
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        for parent in parents:
            inner = schema.model_fields[str(parent)].annotation
            assert isinstance(inner, type)
            schema = inner
        return f"{where}: unknown key{hint(key, list(schema.model_fields))}"
    if item["type"] == "missing":
        return f"{where}: missing; write it there, no key has a default"
    rule = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    rule = rule if rule.startswith("expected") else f"expected {rule}"
    return f"{where}: {rule}; got {item['input']!r}"
