"""Whether data/ is what params.yaml and the code ask for, as DVC tells."""

import json
from pathlib import Path

from retrace.errors import InputError
from retrace.runs.commands import dvc

# The last stages of data/: they need all the others.
_LAST = ("cwt", "split")
_OTHER = ("modified", "deleted")


def require_data(root: Path) -> None:
    """Raise InputError where a stage before `train` would be run again by dvc repro."""
    status = json.loads(dvc(root, "status", "--json", "--with-deps", *_LAST))
    stale = [
        stage
        for stage, changes in status.items()
        if stage != "check" and any(_counts(change) for change in changes)
    ]
    if stale:
        raise InputError(
            f"data/ is not what params.yaml and the code ask for ({', '.join(sorted(stale))}): run "
            f"dvc repro {' '.join(_LAST)}"
        )


def _counts(change: object) -> bool:
    """What is only not in DVC's cache is the same data."""
    if not isinstance(change, dict) or "changed outs" not in change:
        return True
    return any(state in _OTHER for state in change["changed outs"].values())
