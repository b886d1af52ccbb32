"""A published model brought into the workspace: `dvc repro` then rebuilds all but the training."""

import shutil
from pathlib import Path

from retrace.errors import InputError
from retrace.files import new_file, new_folder
from retrace.runs import disk, recipes, run
from retrace.runs.commands import at_head, dvc, require_rest

# What train and evaluate write that DVC leaves to Git.
CURVES, SCORES = Path("metrics/train"), Path("metrics/test.json")
TRAINED = ["models/checkpoint", "plots/train"]


def pull(root: Path, name: str, *, force: bool = False) -> list[str]:
    """Write the recipe into params.yaml, and its published lock, model and curves beside it.

    Data that are missing or others than the run's are rebuilt by the next `dvc repro`, which
    skips the training where they come out as published. Returns the files of the training's code
    that have changed since: with any of them it is not skipped.

    Raises InputError, with everything as it was, where no run is published, its model is not in
    the bundled store, DVC is at work, or what would be replaced is not committed, unless `force`.
    """
    theirs = run.published(root, name)
    require_rest(root)
    lock, params = root / "dvc.lock", root / "params.yaml"
    if not force and lock.is_file() and not _saved(root, lock.read_text(encoding="utf-8")):
        raise InputError(
            f"dvc.lock: is of a run that is neither committed nor published; that of {name} would "
            "replace it: commit it, or add --force"
        )
    before = {path: path.read_bytes() for path in (lock, params) if path.is_file()}
    try:
        recipes.apply(root, name, force=force)
        with new_file(lock) as part:
            shutil.copy(root / "recipes" / name / "dvc.lock", part)
        _fetch(root, name)
        with new_folder(root / CURVES) as part:
            shutil.copytree(root / "recipes" / name / "train", part, dirs_exist_ok=True)
        with new_file(root / SCORES) as part:
            shutil.copy(root / "recipes" / name / "metrics.json", part)
    except BaseException:  # Ctrl-C too
        for path in (lock, params):
            with new_file(path) as part:
                part.write_bytes(before.get(path, b""))
            if path not in before:
                path.unlink()
        raise
    return disk.changed_code(root, theirs.lock, "train")


def _fetch(root: Path, name: str) -> None:
    try:
        dvc(root, "pull", "--force", "--remote", "store", *TRAINED)
    except InputError as error:
        raise InputError(
            f"recipe {name}: its trained model cannot be had from store/ ({error}): run retrace "
            f"recipe {name}, then dvc repro, which trains it"
        ) from None


def _saved(root: Path, text: str) -> bool:
    """Whether a dvc.lock is that of the last commit or of a published run."""
    return text == at_head(root, "dvc.lock") or any(
        text == (root / "recipes" / name / "dvc.lock").read_text(encoding="utf-8")
        for name in run.all_published(root)
    )
