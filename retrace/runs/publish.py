"""Keeping a run in the repository: recipes/<name>/ for what it gave, store/ for its bytes."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from retrace.errors import InputError
from retrace.files import new_folder

# The recipe of the committed params.yaml. Of no other run are the data pushed: no real recording
# ever enters the repository.
DEFAULT = "synthetic"
DEFAULT_RUN_MB = 12
MODEL_MB = 20
_MODEL = ["models/checkpoint"]


def publish(root: Path, name: str) -> list[str]:
    """Copy the last run's lock, scores, cost and environment, and push its bytes to store/.

    Returns the lines to tell the user. Raises InputError when the workspace is not a finished
    run of that recipe, or when its bytes pass the limits of the bundled store.
    """
    recipe = root / "recipes" / f"{name}.yaml"
    if not recipe.is_file():
        known = sorted(path.stem for path in (root / "recipes").glob("*.yaml"))
        raise InputError(f"recipe {name!r}: unknown; there are {', '.join(known)}: name one")
    if name == DEFAULT and recipe.read_bytes() != (root / "params.yaml").read_bytes():
        raise InputError(
            f"params.yaml: not that of recipe {name}; only its own run is published: copy "
            f"recipes/{name}.yaml over it and run dvc repro"
        )
    if json.loads(_dvc(root, "status", "--json")) != {}:
        raise InputError(
            "dvc status: the workspace is not the result of its params.yaml; only a finished run "
            "is published: run dvc repro"
        )
    targets = _outs(root) if name == DEFAULT else _MODEL
    size = sum(_size(root / target) for target in targets) / 1e6
    limit = DEFAULT_RUN_MB if name == DEFAULT else MODEL_MB
    if size > limit:
        raise InputError(
            f"{', '.join(targets)}: {size:.1f} MB; at most {limit} MB of a run go into store/: "
            "make the model or the data smaller"
        )
    with new_folder(root / "recipes" / name) as folder:
        for source, kept in _kept(root).items():
            shutil.copy(source, folder / kept)
        (folder / "README.md").write_text(_readme(name, folder), encoding="utf-8")
    _dvc(root, "push", "--remote", "store", *targets)
    return [
        f"recipes/{name}: lock, scores, cost and environment",
        f"store: {size:.1f} MB of this run",
        f"next: git add recipes store dvc.lock metrics && git commit -m 'Publish {name}'",
    ]


def _kept(root: Path) -> dict[Path, str]:
    """What a published run consists of beside its bytes, and under which name."""
    run = _run_of(root, root / "models/checkpoint/weights.safetensors")
    return {
        root / "dvc.lock": "dvc.lock",
        root / "metrics/test.json": "metrics.json",
        root / "plots/test/scores.json": "scores.json",
        root / "plots/test/confusion.png": "confusion.png",
        root / "plots/train/curves.png": "curves.png",
        run / "cost.json": "cost.json",
        run / "environment.json": "environment.json",
    }


def _run_of(root: Path, weights: Path) -> Path:
    """The folder of the run that wrote these weights, known by their hash."""
    written = hashlib.sha256(weights.read_bytes()).hexdigest()
    for cost in sorted((root / "runs").glob("*/cost.json")):
        if json.loads(cost.read_text(encoding="utf-8")).get("weights_sha256") == written:
            return cost.parent
    raise InputError(
        "runs: none wrote the weights in models/checkpoint; a run is published where it was "
        "trained: run dvc repro --force train evaluate"
    )


def _outs(root: Path) -> list[str]:
    """The outputs that DVC keeps; those with `cache: false` stand in Git."""
    graph = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    outs = [out for stage in graph["stages"].values() for out in stage.get("outs", [])]
    return [out for out in outs if isinstance(out, str)]


def _dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(
            f"dvc {arguments[0]}: {done.stderr.strip()}; it must succeed: mend that first"
        )
    return done.stdout


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _readme(name: str, folder: Path) -> str:
    """The published figures as a page; each comes from a file beside it."""
    parts = [f"# The published run `{name}`"]
    for title, file in (("Scores", "metrics"), ("Cost", "cost"), ("Made on", "environment")):
        values: dict[str, Any] = json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
        rows = "\n".join(f"| {key} | {value} |" for key, value in values.items())
        parts.append(f"## {title}\n\n| {file}.json | |\n|---|---|\n{rows}")
    parts.append("![Confusion matrix](confusion.png)\n\n![Learning curves](curves.png)")
    return "\n\n".join(parts) + "\n"
