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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"error: the disk is full while writing {error.filename or 'the output'}; nothing "
            "was left half-written: free some space and run the same command again",
            file=sys.stderr,
        )
        raise SystemExit(status) from None
