"""Keeping a run in the repository: recipes/<name>/ for what it gave, store/ for its bytes."""

import hashlib
import shutil
from pathlib import Path

import yaml

from retrace.errors import InputError
from retrace.files import new_file, new_folder, read_csv, write_csv
from retrace.runs import locks, recipes, run
from retrace.runs.commands import dvc
from retrace.runs.page import readme
from retrace.runs.pull import CURVES, TRAINED
from retrace.runs.run import Run
from retrace.runs.siblings import siblings

# Of the default run alone are the data pushed: no real recording ever enters the repository.
DEFAULT_RUN_MB = 12
MODEL_MB = 20
# Every published reading of a test part: how often it was looked at can be counted.
LEDGER = Path("recipes/ledger.csv")
LEDGER_COLUMNS = ("run", "dataset", "split", "test_part", "weights_sha256", "accuracy", "f1_macro")


def publish(root: Path, name: str, *, model: bool = True) -> list[str]:
    """Copy the last run's lock, scores, cost and environment, and push its bytes to store/.

    model: whether its model is pushed; one that is too large for the bundled store never is. The
    page then gives its SHA-256. A line of recipes/ledger.csv says that this test part was read.
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
    stored = (model or default) and size <= (DEFAULT_RUN_MB if default else MODEL_MB)
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
        text = readme(root, name, last, None if stored else size)
        (folder / "README.md").write_text(text, encoding="utf-8")
    beside = siblings(root, last) if last.beats else []
    for other in beside:  # their pages show this run next to their own
        renew(root, other)
    _enter(root / LEDGER, name, last)
    return [
        f"recipes/{name}: lock, scores, cost and environment",
        f"store: {size:.1f} MB of this run"
        if stored
        else f"store: nothing of its {size:.1f} MB; the page gives the SHA-256",
        *(f"recipes/{other.name}/README.md: shows this run beside its own" for other in beside),
        *_next(name, default),
    ]


def renew(root: Path, other: Run) -> None:
    """Write the page of a published run once more."""
    size = None if _in_store(root, other) else _megabytes(other, TRAINED)
    with new_file(root / "recipes" / other.name / "README.md") as part:
        part.write_text(readme(root, other.name, other, size), encoding="utf-8")


def _in_store(root: Path, one: Run) -> bool:
    """Whether the bundled store has its model."""
    md5 = locks.hashes(one.lock["train"], "outs")["models/checkpoint"]
    return (root / "store/files/md5" / md5[:2] / md5[2:]).is_file()


def _enter(ledger: Path, name: str, last: Run) -> None:
    """Note that this run read its test part, once for each model that did."""
    part = hashlib.sha256(" ".join(last.test_part).encode()).hexdigest()[:12]
    scores = [str(last.metrics[score]) for score in ("accuracy", "f1_macro")]
    line = [name, last.dataset, last.split, part, last.cost["weights_sha256"], *scores]
    lines = [list(row.values()) for row in read_csv(ledger)] if ledger.is_file() else []
    if line not in lines:
        write_csv(ledger, LEDGER_COLUMNS, [*lines, line])


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
        root / "plots/robustness/robustness.json": "robustness.json",
        root / "plots/robustness/robustness.png": "robustness.png",
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
