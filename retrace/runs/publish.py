"""Keeping a run in the repository: recipes/<name>/ for what it gave, store/ for its bytes."""

import shutil
from pathlib import Path

import yaml

from retrace.errors import InputError
from retrace.files import new_file, new_folder
from retrace.runs import recipes, run
from retrace.runs.commands import dvc
from retrace.runs.page import readme
from retrace.runs.pull import CURVES, TRAINED
from retrace.runs.run import Run
from retrace.runs.siblings import siblings

# Of the default run alone are the data pushed: no real recording ever enters the repository.
DEFAULT_RUN_MB = 12
MODEL_MB = 20


def publish(root: Path, name: str) -> list[str]:
    """Copy the last run's lock, scores, cost and environment, and push its bytes to store/.

    A model that is too large for the bundled store is not pushed; its page gives its SHA-256.
    Returns the lines to tell the user. Raises InputError when the workspace is not a finished
    run of that recipe, or when the default run passes the limit of the bundled store.
    """
    if keys := recipes.differing(root, recipes.known(root, name)):
        raise InputError(
            f"params.yaml: {', '.join(keys[:5])}: not as in recipe {name}; only its own run is "
            f"published: run retrace recipe {name}, then dvc repro"
        )
    last = run.workspace(root)
    made = run.made_in(root)
    if made is None:
        raise InputError(
            "runs: none wrote the weights in models/checkpoint; a run is published where it was "
            "trained: run dvc repro --force train evaluate"
        )
    default = name == recipes.DEFAULT
    targets = _outs(root) if default else TRAINED
    size = _megabytes(last, targets)
    stored = size <= (DEFAULT_RUN_MB if default else MODEL_MB)
    if default and not stored:
        raise InputError(
            f"{', '.join(targets)}: {size:.1f} MB; at most {DEFAULT_RUN_MB} MB of the default run "
            "go into store/: make the model or the data smaller"
        )
    if stored:
        dvc(root, "push", "--remote", "store", *targets)
    with new_folder(root / "recipes" / name) as folder:
        for source, kept in _files(root, made).items():
            shutil.copy(source, folder / kept)
        shutil.copytree(root / CURVES, folder / "train")
        text = readme(root, name, last, size if not stored else None)
        (folder / "README.md").write_text(text, encoding="utf-8")
    beside = siblings(root, last) if last.beats else []
    for other in beside:  # their pages show this run next to their own
        renew(root, other)
    return [
        f"recipes/{name}: lock, scores, cost and environment",
        f"store: {size:.1f} MB of this run"
        if stored
        else f"store: nothing; {size:.1f} MB are above {MODEL_MB} MB, the page gives the SHA-256",
        *(f"recipes/{other.name}/README.md: shows this run beside its own" for other in beside),
        *_next(name, default),
    ]


def renew(root: Path, other: Run) -> None:
    """Write the page of a published run once more."""
    size = _megabytes(other, TRAINED)
    with new_file(root / "recipes" / other.name / "README.md") as part:
        text = readme(root, other.name, other, size if size > MODEL_MB else None)
        part.write_text(text, encoding="utf-8")


def _next(name: str, default: bool) -> list[str]:
    if default:
        return [f"next: git add recipes store dvc.lock metrics && git commit -m 'Publish {name}'"]
    return [
        f"next: git add recipes store && git commit -m 'Publish {name}'",
        "back to the default run: retrace recipe synthetic --trained && dvc pull",
    ]


def _files(root: Path, made: Path) -> dict[Path, str]:
    """What a published run consists of beside its bytes, and under which name."""
    return {
        root / "dvc.lock": "dvc.lock",
        root / "metrics/test.json": "metrics.json",
        root / "plots/test/scores.json": "scores.json",
        root / "plots/test/confusion.png": "confusion.png",
        root / "plots/train/curves.png": "curves.png",
        made / "cost.json": "cost.json",
        made / "environment.json": "environment.json",
    }


def _outs(root: Path) -> list[str]:
    """The outputs that DVC keeps; those with `cache: false` stand in Git."""
    graph = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    outs = [out for stage in graph["stages"].values() for out in stage.get("outs", [])]
    return [out for out in outs if isinstance(out, str)]


def _megabytes(one: Run, targets: list[str]) -> float:
    """How large the outputs are, as its lock says."""
    outs = [out for stage in one.lock.values() for out in stage.get("outs", [])]
    return sum(int(out["size"]) for out in outs if out["path"] in targets) / 1e6
