"""Which run a checkpoint is of, as the locks tell, and whether it was fitted on this split."""

from pathlib import Path

from retrace.runs import locks, run
from retrace.runs.hashes import md5

CHECKPOINT, SPLIT = "models/checkpoint", "data/split.csv"


def doubt(root: Path, folder: Path) -> str:
    """Why the checkpoint in `folder` may know segments of any part; "" where its run had the very
    split that is in the workspace."""
    weights, here = md5(folder), md5(root / SPLIT)
    found = {
        name: outs.get(SPLIT)
        for name, outs in _runs(root).items()
        if outs.get(CHECKPOINT) == weights
    }
    if here in found.values():
        return ""
    if found:
        return (
            f"It was fitted on another split ({', '.join(found)}): segments of this part may have "
            "been in its training."
        )
    return (
        "Neither dvc.lock nor recipes/ knows this checkpoint: segments of this part may have been "
        "in its training."
    )


def _runs(root: Path) -> dict[str, dict[str, str]]:
    """The paths that each known run wrote, with their MD5."""
    known = {name: run.read_lock(root / "recipes" / name) for name in run.all_published(root)}
    if (root / "dvc.lock").is_file():
        known["dvc.lock"] = run.read_lock(root)
    return {name: locks.outs(lock) for name, lock in known.items()}
