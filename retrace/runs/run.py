"""A finished run: what its lock says, what it scored, what it cost and where it was made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yaml import YAMLError

from retrace.errors import InputError
from retrace.runs import locks, recipes
from retrace.runs.commands import dvc
from retrace.runs.words import duration

WORKSPACE = "workspace"
WEIGHTS = "models/checkpoint/weights.safetensors"
METRICS, SCORES = "metrics/test.json", "plots/test/scores.json"
ROBUSTNESS = "plots/robustness/robustness.json"


@dataclass(frozen=True)
class Run:
    """cost and environment are empty where they are not known: the training was elsewhere.
    robustness is empty in runs that are older than its stage. commit: where it stands, if Git alone
    has it."""

    name: str
    lock: locks.Lock
    metrics: Mapping[str, Any]  # the headline, flat
    scores: Mapping[str, Any]  # every score as {value, low, high}
    cost: Mapping[str, Any]
    environment: Mapping[str, Any]
    robustness: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """The params that its stages used, by dotted key."""
        return {
            key: value
            for stage in self.lock.values()
            for key, value in locks.params_of(stage).items()
        }

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.params["dataset.name"])

    @property
    def model(self) -> str:
        """The model's name, with its variant where it has some."""
        name = self.params["model.name"]
        return f"{name} {self.params.get(f'models.{name}.variant', '')}".strip()

    @property
    def split(self) -> str:
        """How its segments were divided."""
        return str(self.params["split.method"])

    @property
    def beats(self) -> bool:
        """Whether single beats were scored, and not records."""
        return self.scores.get("unit") == "beat"

    @property
    def stamp(self) -> str:
        """INTRA-PATIENT where it was tested on patients it may know, else nothing."""
        return str(self.scores.get("split", {}).get("stamp") or "").upper()

    @property
    def parameters(self) -> str:
        """How many numbers were fitted; - where that is not known."""
        count = self.cost.get("parameters")
        return "-" if count is None else f"{count:,}"

    @property
    def test_part(self) -> tuple[str, ...]:
        """Equal where two runs were scored on the same records, or on the same beats of them."""
        outs = locks.outs(self.lock)
        return outs["data/raw"], outs["data/split.csv"], "beat" if self.beats else "record"

    @property
    def machine(self) -> str:
        """What it was trained on: the GPU, or the threads of a CPU."""
        if not self.environment:
            return "unknown"
        gpu = self.environment["gpu"]
        if gpu != "none":
            return str(gpu)
        threads = int(self.environment["threads"])
        plural = "" if threads == 1 else "s"
        return f"{threads} CPU thread{plural} ({self.environment['cpu_capability']})"

    @property
    def training(self) -> str:
        """How long the training took, and on what."""
        if not self.cost:
            return "unknown"
        return f"{duration(self.cost['training_seconds'])} on {self.machine}"

    def entry(self, headline: str) -> Mapping[str, Any] | None:
        """A headline score as {value, low, high}; None where the number is no score."""
        if headline == "f1_macro_majority":
            found = self.scores["baselines"]["majority"]["f1_macro"]
        else:
            found = {**self.scores, **self.scores["overall"]}.get(headline)
        return found if isinstance(found, Mapping) and "low" in found else None


def is_published(root: Path, name: str) -> bool:
    """Whether recipes/<name>/ holds a run."""
    return (root / "recipes" / name / "dvc.lock").is_file()


def all_published(root: Path) -> list[str]:
    """The recipes of which a run is published."""
    return [name for name in recipes.names(root) if is_published(root, name)]


def published(root: Path, name: str) -> Run:
    """The published run of a recipe; InputError where there is no such recipe, or no run of it."""
    folder = root / "recipes" / recipes.known(root, name)
    if not is_published(root, name):
        raise InputError(
            f"recipe {name}: no run of it is published, so there is nothing to compare with: "
            f"retrace publish {name} keeps the first"
        )
    metrics, scores, cost, environment = (
        _json(folder / f"{file}.json") for file in ("metrics", "scores", "cost", "environment")
    )
    robustness = json_if_there(folder / "robustness.json")
    return Run(name, read_lock(folder), metrics, scores, cost, environment, robustness)


def workspace(root: Path) -> Run:
    """The run in the workspace; InputError where it is not the result of its params and code."""
    # Of the stages alone: a published model that nobody pulled is no part of the run.
    if json.loads(dvc(root, "status", "--json", "dvc.yaml")) != {}:
        raise InputError(
            "dvc status: the workspace is not the result of its params.yaml and code; it must be "
            "a finished run: run dvc repro"
        )
    return Run(
        WORKSPACE,
        read_lock(root),
        _json(root / METRICS),
        _json(root / SCORES),
        *training(root, weights(root)),
        json_if_there(root / ROBUSTNESS),
    )


def training(root: Path, written: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cost and environment of the training that wrote the weights of this SHA-256, here or of a
    published run; empty where it was elsewhere."""
    made = made_in(root, written, *(root / "recipes" / name for name in all_published(root)))
    return (_json(made / "cost.json"), _json(made / "environment.json")) if made else ({}, {})


def json_if_there(path: Path) -> dict[str, Any]:
    """What a JSON file of a run holds, {} where it is not there; InputError where it is damaged."""
    return _json(path) if path.is_file() else {}


def made_in(root: Path, written: str, *others: Path) -> Path | None:
    """The folder of the training that wrote the weights of this SHA-256: runs/<key>, else one of
    `others`, which are published runs; None where it was elsewhere, or there are no weights."""
    for folder in (*sorted((root / "runs").glob("*")), *others):
        if written and json_if_there(folder / "cost.json").get("weights_sha256") == written:
            return folder
    return None


def weights(root: Path) -> str:
    """The SHA-256 of the workspace's trained weights; "" where there are none."""
    path = root / WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_lock(folder: Path) -> locks.Lock:
    """The stages of the dvc.lock in a folder; InputError where it holds no run."""
    try:
        return locks.parse((folder / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "dvc.lock: missing; it says what a run wrote: run dvc repro, or restore it from Git"
        ) from None
    except (UnicodeDecodeError, YAMLError) as error:
        raise InputError(f"dvc.lock: not YAML ({error}): restore it from Git") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; a finished run has it: restore it from Git") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}): restore it from Git") from None
    return found
