"""Copies of the repository for tests that run DVC, with no environment of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.sources import ROOT

# A run of seconds that still has every class in every subset.
SMALL: dict[str, Any] = {
    "synthetic.patients": 16,
    "synthetic.records_per_patient": 3,
    "models.efficientnet.image_size": 32,
    "models.efficientnet.square": True,
    "cwt.frames": 80,
    "epochs": 2,
    "batch_size": 16,
    "threads": 1,
    "train.warmup": 1,
    "evaluate.resamples": 100,
}
ENVIRONMENT = {
    # As if the environment of the tests were activated: stages/python.sh finds no .venv beside a
    # copy, and a worker of DVC's queue starts `dvc` by its name.
    "VIRTUAL_ENV": sys.prefix,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "DVC_NO_ANALYTICS": "1",
}


def copy_repository(folder: Path, *, keep_lock: bool = False) -> Path:
    """What Git would clone from the present work tree, without the bundled store."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        # Nor the models that only the store holds: DVC would miss them.
        if name.startswith("store/") or name.endswith(".onnx.dvc") or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    if not keep_lock:
        (folder / "dvc.lock").unlink(missing_ok=True)
    return folder


def change_params(folder: Path, changes: dict[str, Any]) -> None:
    """Set values at dotted keys of the copy's params.yaml."""
    path = folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[key] = value
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def run(folder: Path, *command: str, check: bool = True, **extra: str) -> str:
    """Run a command in the copy; its stdout and stderr together."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | ENVIRONMENT | extra,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def dvc(folder: Path, *arguments: str, check: bool = True, **extra: str) -> str:
    """Run DVC with the interpreter of the tests."""
    return run(folder, sys.executable, "-m", "dvc", *arguments, check=check, **extra)


def commit_all(folder: Path) -> None:
    """Make the copy a repository with one commit."""
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "start")
