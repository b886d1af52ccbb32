"""Git and DVC, asked as a user asks them."""

import subprocess
import sys
from pathlib import Path

from retrace.errors import InputError


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
    if done.returncode:
        raise InputError(
            f"dvc {arguments[0]}: {done.stderr.strip()}; it must succeed: mend that first"
        )
    return done.stdout
