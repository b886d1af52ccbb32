"""Keeping a run in the repository: recipes/<name>/ for what it gave, store/ for its bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from retrace.errors import InputError
from retrace.files import new_folder
from retrace.runs import locks

# No real recording ever enters the repository: of other runs only the model is pushed.
_PUSHED = {
    "synthetic": (
        "data/raw",
        "data/filtered",
        "data/waveforms",
        "data/scalograms",
        "data/split.csv",
        "models/checkpoint",
        "plots/test",
    )
}
_MODEL = ("models/checkpoint",)
DEFAULT_RUN_BYTES = 12_000_000
MODEL_BYTES = 20_000_000
STORE_BYTES = 64_000_000


def publish(root: Path, name: str) -> list[str]:
    """Copy the last run's lock, scores, cost and environment, and push its bytes to store/.

    Returns the lines to tell the user. Raises InputError when the workspace is not a finished
    run of that recipe, or when the bytes pass the limits of the bundled store.
    """
    recipe = root / "recipes" / f"{name}.yaml"
    if not recipe.is_file():
        known = sorted(path.stem for path in (root / "recipes").glob("*.yaml"))
        raise InputError(f"recipe {name!r}: unknown; there are {', '.join(known)}: name one")
    if name == "synthetic" and recipe.read_bytes() != (root / "params.yaml").read_bytes():
        raise InputError(
            f"params.yaml: not that of recipe {name}; only its own run is published: copy "
            f"recipes/{name}.yaml over it and run dvc repro"
        )
    _must_be_finished(root)
    targets = _PUSHED.get(name, _MODEL)
    size = sum(_size(root / target) for target in targets)
    limit = DEFAULT_RUN_BYTES if name == "synthetic" else MODEL_BYTES
    if size > limit:
        raise InputError(
            f"{', '.join(targets)}: {size / 1e6:.1f} MB; at most {limit / 1e6:.0f} MB go into "
            "store/: make the model or the data smaller"
        )
    config = json.loads((root / "models/checkpoint/config.json").read_text(encoding="utf-8"))
    run = root / "runs" / str(config["run"])
    with new_folder(root / "recipes" / name) as folder:
        shutil.copy(root / "dvc.lock", folder / "dvc.lock")
        shutil.copy(root / "metrics/test.json", folder / "metrics.json")
        shutil.copy(root / "plots/test/scores.json", folder / "scores.json")
        for part in ("cost.json", "environment.json"):
            if not (run / part).is_file():
                raise InputError(
                    f"runs/{config['run']}/{part}: missing; only the machine that trained a run "
                    "publishes it: run dvc repro --force train"
                )
            shutil.copy(run / part, folder / part)
        (folder / "README.md").write_text(_readme(name, folder), encoding="utf-8")
    _dvc(root, "push", "--remote", "store", *targets)
    return [
        f"recipes/{name}: lock, scores, cost and environment",
        f"store: {size / 1e6:.1f} MB of this run",
        f"commit both: git add recipes store dvc.lock metrics && git commit -m 'Publish {name}'",
    ]


def _must_be_finished(root: Path) -> None:
    status = _dvc(root, "status", "--json")
    if json.loads(status) != {}:
        raise InputError(
            "dvc status: the workspace is not the result of its params.yaml; only a finished run "
            "is published: run dvc repro"
        )


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
            f"dvc {' '.join(arguments)}: {done.stderr.strip()}; it must succeed: mend that first"
        )
    return done.stdout


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _readme(name: str, folder: Path) -> str:
    """The published figures as a page; each comes from a file beside it."""
    read: dict[str, Any] = {
        part: json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        for part in ("metrics", "cost", "environment")
    }
    tables = []
    for title, part in (("Scores", "metrics"), ("Cost", "cost"), ("Made on", "environment")):
        lines = [f"## {title}", "", f"| {part}.json | |", "|---|---|"]
        tables.append(
            "\n".join(lines + [f"| {key} | {value} |" for key, value in read[part].items()])
        )
    stages = "\n".join(
        f"- {stage}" for stage in locks.parse((folder / "dvc.lock").read_text(encoding="utf-8"))
    )
    return (
        f"# The published run `{name}`\n\n" + "\n\n".join(tables) + f"\n\n## Stages\n\n{stages}\n"
    )
