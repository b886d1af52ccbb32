"""Runs that stand in Git alone: DVC's experiments, and earlier commits."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from yaml import YAMLError

from retrace.errors import InputError
from retrace.runs import locks, run
from retrace.runs.cache import Cache
from retrace.runs.commands import dvc
from retrace.runs.run import METRICS, ROBUSTNESS, SCORES, WEIGHTS, Run

PATIENCE = 30  # s, for an answer of Git's

# What a comparison needs of a lock.
NEEDED = ("data/raw", "data/split.csv", "models/checkpoint", "plots/test")


@dataclass(frozen=True)
class Unfinished:
    """An experiment without figures, and why it has none."""

    name: str
    state: str


def commits(root: Path) -> dict[str, str]:
    """The finished experiments of every baseline, by name, each with its commit.

    Of two that have the same name the later one. Empty where there is no Git.
    """
    asked = ("--sort=committerdate", "--format=%(objectname) %(refname)", "refs/exps/*/*/*")
    found = {}
    for line in (_git(root, "for-each-ref", *asked) or "").splitlines():
        commit, ref = line.split(" ", 1)
        _, _, shard, _, name = ref.split("/", 4)
        if len(shard) == 2:  # else DVC's own book-keeping: refs/exps/exec, refs/exps/celery
            found[name] = commit
    return found


def unfinished(root: Path) -> list[Unfinished]:
    """The experiments of DVC's queue that wait, run or failed."""
    if not (root / ".dvc/tmp/exps/celery").is_dir():
        return []  # asking takes seconds
    header, *rows = dvc(root, "queue", "status").splitlines()
    if not header.startswith("Task"):
        return []  # a sentence: there are none
    name, made, state = (header.index(word) for word in ("Name", "Created", "Status"))
    tasks = [
        Unfinished(row[name:made].strip() or row[:name].strip(), row[state:].strip().lower())
        for row in takewhile(bool, rows)  # below an empty line stand DVC's workers
    ]
    return [task for task in tasks if task.state != "success"]


def commit(root: Path, revision: str) -> str | None:
    """The commit of a branch, a tag or a hash; None where Git knows none of that name."""
    # A revision that begins with - would be an option.
    asked = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    found = _git(root, "rev-parse", *asked)
    return found.strip() if found else None


def at(root: Path, name: str, commit: str, cache: Cache) -> Run:
    """The run of a commit, under this name.

    Where DVC's cache has no scores.json of it, the headline that Git has stands for its scores.
    Raises InputError where the commit holds no finished run.
    """
    lock = _lock(root, name, commit)
    try:
        metrics = json.loads(file(root, commit, METRICS) or "")
    except ValueError:
        raise InputError(f"{name}: its commit has no {METRICS}; only a finished run does") from None
    scores, robustness, weights = (cache.read(lock, path) for path in (SCORES, ROBUSTNESS, WEIGHTS))
    written = hashlib.sha256(weights).hexdigest() if weights else ""
    return Run(
        name,
        lock,
        metrics,
        json.loads(scores) if scores else _headline(metrics, lock),
        *run.training(root, written),
        json.loads(robustness) if robustness else {},
        commit,
    )


def file(root: Path, commit: str, path: str) -> str | None:
    """A file's text in a commit; None where it is not there."""
    return _git(root, "show", f"{commit}:./{path}")


def _headline(metrics: dict[str, Any], lock: locks.Lock) -> dict[str, Any]:
    """What metrics/test.json says, in the form of scores.json."""
    # A stamp is measured; where that is not at hand, the split's name has to do.
    method = Run("", lock, {}, {}, {}, {}).split
    ends = ("_low", "_high", "_majority")
    names = [name for name in metrics if not name.startswith("n_") and not name.endswith(ends)]
    overall = {
        name: {"value": metrics[name]}
        | {end: metrics.get(f"{name}_{end}") for end in ("low", "high")}
        for name in names
    }
    return {
        **({"unit": "beat"} if "n_beats" in metrics else {}),
        "counts": {
            key: metrics.get(f"n_{kind}")
            for key, kind in (
                ("answers", "beats"),
                ("records", "records"),
                ("patients", "patients"),
            )
        },
        "overall": overall,
        "classes": {},
        "baselines": {},
        "split": {"stamp": "intra-patient" if method == "intra_patient" else None},
    }


def _lock(root: Path, name: str, commit: str) -> locks.Lock:
    text = file(root, commit, "dvc.lock")
    try:
        lock = locks.parse(text or "")
        complete = set(NEEDED) <= set(locks.outs(lock))
    except (YAMLError, AttributeError, TypeError, KeyError):
        complete = False
    if not complete:
        raise InputError(f"{name}: its commit has no dvc.lock of a run that was evaluated")
    return lock


def _git(root: Path, *arguments: str) -> str | None:
    """What a Git command prints; None where it fails, or there is no Git.

    Raises InputError where it does not end.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise InputError(
            f"git {arguments[0]}: no answer for {PATIENCE} s; a run that Git alone has is read "
            "through it: see whether git status ends in this folder, and try again"
        ) from None
    return done.stdout if done.returncode == 0 else None
