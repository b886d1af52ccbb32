"""Git and DVC, asked as a user asks them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from retrace.errors import InputError

# What DVC says where another of its commands holds the workspace.
_AT_WORK = ("it is being blocked by", "Unable to acquire lock")


def at_head(root: Path, path: str) -> str | None:
    """A file's text in the last commit; None where it is not there, or there is no Git."""
    try:
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{path}"],
            cwd=root,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def dvc(root: Path, *arguments: str) -> str:
    """What a DVC command prints; raises InputError with its own words where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and any(words in done.stderr for words in _AT_WORK):
        raise _at_work()
    if done.returncode:
        raise InputError(
            f"dvc {arguments[0]}: {done.stderr.strip()}; it must succeed: mend that first"
        )
    return done.stdout


def require_rest(root: Path) -> None:
    """Raise InputError where a DVC command is writing: what a stage is at stands in its rwlock."""
    try:
        held = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))
        if any(_alive(int(writer["pid"])) for writer in held["write"].values()):
            raise _at_work()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # nothing holds it, or not as this DVC writes it


def _at_work() -> InputError:
    return InputError(
        "dvc: another of its commands is at work in this folder (dvc repro?); a run can be looked "
        "at when it has finished: wait until it has ended"
    )


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True
