"""What a sweep is to be, checked before anything starts: the same plan is the same sweep."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from retrace import params
from retrace.cluster import PACKAGE
from retrace.errors import InputError
from retrace.files import write_json
from retrace.learning.sweep import checks, spaces
from retrace.learning.sweep.prepared import own
from retrace.learning.sweep.spaces import Space

SWEEPS = Path("runs/sweeps")
SETTINGS, JOURNAL = "settings.json", "journal.jsonl"
TOKEN = "token"  # a file by which a node tells whether it sees the sweep's folder
# The code that a score depends on.
_CODE = ("datasets", "learning", "models", "scoring", "signals")


@dataclass(frozen=True)
class Options:
    """What the user asks for.

    name: of its folder below runs/sweeps; None is the space's. samples: trials in all. score: of
    the validation part; None is that of params.yaml. grace: epochs before a trial may be stopped.
    reduction: one of so many goes on at each rung. seed: of the searcher; None is that of
    params.yaml. cpus: threads of a trial. gpus: its share of one.
    """

    samples: int
    max_epochs: int
    searcher: str
    grace: int
    reduction: float
    cpus: int
    gpus: float
    name: str | None = None
    score: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Plan:
    """A sweep. base: the tree of params.yaml. space: with what the sweep sets among its `fixed`.
    key: a hash of all that its scores depend on."""

    root: Path
    name: str
    base: Mapping[str, Any]
    space: Space
    options: Options
    score: str
    seed: int
    key: str

    @property
    def folder(self) -> Path:
        return self.root / SWEEPS / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the trials: told to trackers, and compared where a sweep goes on."""
        known = asdict(self.options) | {"score": self.score, "seed": self.seed}
        varied = {name: repr(each) for name, each in self.space.domains.items()}
        fixed = dict(self.space.fixed)
        return {"space": self.space.name, **known, "name": self.name, **fixed, **varied}


def plan(root: Path, space_name: str, options: Options) -> Plan:
    """Read and check params.yaml, the space and the options; raises InputError."""
    _check_numbers(options)
    given = params.load(root / "params.yaml")
    base = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    space = spaces.read(spaces.find(root, space_name), given.model.name)
    checks.check(space, base)
    score, seed = options.score or given.train.score, options.seed
    sets = {"epochs": options.max_epochs, "threads": options.cpus, "train.score": score}
    sets |= _device(given, options.gpus)
    params.checked(checks.lay(base, sets))  # a score that there is, for one
    name = options.name or space.name
    if len(name) > 100 or not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"--name {name}: expected letters, digits, - and _, at most 100")
    found = Plan(
        root=root,
        name=name,
        base=base,
        space=replace(space, fixed=sets | dict(space.fixed)),
        options=options,
        score=score,
        seed=given.seed if seed is None else seed,
        key="",
    )
    return replace(found, key=_key(found, given))


def _check_numbers(options: Options) -> None:
    numbers: list[tuple[str, float, float, float]] = [
        ("samples", options.samples, 1, 100_000),
        ("max-epochs", options.max_epochs, 1, 100_000),
        ("grace", options.grace, 1, options.max_epochs),
        ("cpus", options.cpus, 1, 1024),
        ("gpus", options.gpus, 0, 1),
    ]
    if options.seed is not None:
        numbers.append(("seed", options.seed, 0, 2**32 - 1))
    for name, value, least, most in numbers:
        if not least <= value <= most:
            raise InputError(f"--{name} {value:g}: expected {least} to {most}")
    if options.reduction <= 1:
        raise InputError(f"--reduction {options.reduction:g}: expected more than 1")


def _device(given: params.Params, gpus: float) -> dict[str, Any]:
    """One device for each trial, the same when its line is repeated by DVC."""
    asked = given.train
    if asked.devices not in ("auto", 1) or asked.nodes != 1:
        raise InputError(
            f"params.yaml: train.devices {asked.devices}, train.nodes {asked.nodes}; a trial of a "
            "sweep is trained on one device: set them to 1"
        )
    if gpus:
        return {"train.devices": 1}
    if asked.accelerator not in ("auto", "cpu"):
        raise InputError(
            f"params.yaml: train.accelerator: {asked.accelerator}, and --gpus is 0; a trial needs "
            "what it trains on: add --gpus 1, or a share (0.5: two trials on each)"
        )
    return {"train.accelerator": "cpu"} if asked.accelerator == "auto" and _has_gpu() else {}


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


def _key(found: Plan, given: params.Params) -> str:
    digest = hashlib.sha256(json.dumps(found.base, sort_keys=True, default=str).encode())
    for path in own(found.root, given.model.input):
        if not path.is_file():
            raise InputError(
                f"{path.relative_to(found.root)}: no such file; a sweep trains on the data that "
                "the stages made: run dvc repro cwt split"
            )
        digest.update(_content(path))
    for path in sorted(path for wing in _CODE for path in (PACKAGE / wing).rglob("*.py")):
        if path.parent != Path(__file__).parent:
            digest.update(_content(path))
    return digest.hexdigest()[:16]


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def claim(plan: Plan, *, resume: bool) -> None:
    """Make the sweep's folder, or see that the sweep in it is the one to go on with.

    Raises InputError: there is a sweep of that name already, none, or another one.
    """
    path, journal = plan.folder / SETTINGS, plan.folder / JOURNAL
    ours = json.loads(json.dumps(plan.settings | {"key": plan.key}))
    if not journal.is_file():  # nothing was tried yet, whatever a refused start left
        if resume:
            raise InputError(f"--resume: there is no sweep {plan.name} to go on with: leave it out")
        plan.folder.mkdir(parents=True, exist_ok=True)
    else:
        if not resume:
            raise InputError(
                f"{path.parent.relative_to(plan.root)}: a sweep of that name is there already: add "
                "--resume to go on with it, or --name for another"
            )
        theirs = json.loads(path.read_text(encoding="utf-8"))
        _same(plan.name, ours, theirs)
    write_json(path, ours)
    # The line that repeats a trial holds what the sweep set; all else is as it was here.
    shutil.copyfile(plan.root / "params.yaml", plan.folder / "params.yaml")


@contextmanager
def alone(plan: Plan) -> Iterator[None]:
    """The only process that works in the sweep's folder; InputError where another one does."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    with (plan.folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{plan.folder.relative_to(plan.root)}: another process works on this sweep; two "
                "would mix their trials: wait for it, or give this one a --name"
            ) from None
        yield


def _same(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Trials of one sweep must be comparable; only their number may change."""
    for key in dict.fromkeys([*ours, *theirs]):
        if key in ("samples", "gpus", "key") or ours.get(key) == theirs.get(key):
            continue
        raise InputError(
            f"--resume: {key} is {ours.get(key)}, and was {theirs.get(key)} when sweep {name} "
            "began; its trials would not be compared alike: set it back, or give this one a --name"
        )
    if ours["key"] != theirs["key"]:
        raise InputError(
            f"--resume: params.yaml, the data or the code have changed since sweep {name} began; "
            "its trials would not be compared alike: give this one a --name"
        )
