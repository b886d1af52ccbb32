"""A published model brought into the workspace: `dvc repro` then rebuilds all but the training."""

import shutil
from pathlib import Path

from retrace.errors import InputError
from retrace.files import new_file, new_folder
from retrace.runs import run
from retrace.runs.commands import dvc

CURVES = Path("metrics/train")  # what train writes that DVC leaves to Git
TRAINED = ["models/checkpoint", "plots/train"]


def pull(root: Path, name: str) -> None:
    """Replace dvc.lock and what `train` wrote by those of the published run of a recipe.

    Data that are missing or others than the run's are rebuilt by the next `dvc repro`, which
    skips the training where they come out as published. Raises InputError, with dvc.lock as it
    was, where no run is published or its model is not in the bundled store.
    """
    run.published(root, name)
    folder = root / "recipes" / name
    lock = root / "dvc.lock"
    before = lock.read_bytes() if lock.is_file() else None
    shutil.copy(folder / "dvc.lock", lock)
    try:
        dvc(root, "pull", "--force", "--remote", "store", *TRAINED)
    except InputError as error:
        if before is None:
            lock.unlink()
        else:
            with new_file(lock) as part:
                part.write_bytes(before)
        raise InputError(
            f"recipe {name}: its trained model is not in store/ ({error}): run dvc repro, which "
            "trains it"
        ) from None
    with new_folder(root / CURVES) as part:
        shutil.copytree(folder / "train", part, dirs_exist_ok=True)
