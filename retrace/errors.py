"""What a user reads when something is wrong: one sentence, never a traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Something the user gave is wrong: the value, the rule it breaks and the remedy."""


@contextmanager
def reported(status: int = 1) -> Iterator[None]:
    """Turn an expected failure into one sentence on stderr and an exit code.

    Anything else keeps its traceback: it is a fault of Retrace, and its author needs it.
    """
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(status) from None
    except OSError as error:
        where = error.filename2 or error.filename  # a copy names its source first
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = (
                f"the disk is full while writing {where or 'the output'}; nothing was left "
                "half-written: free some space and run the same command again"
            )
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and where:
            sentence = (
                f"{where}: {error.strerror}; the folder and what is in it must be yours to write: "
                'change the owner (sudo chown -R "$USER" .) and run the same command again'
            )
        elif error.errno == errno.ENOENT and where:
            sentence = (
                f"{where}: no such file; a stage needs what the one before it wrote: run dvc repro"
            )
        else:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        raise SystemExit(status) from None
