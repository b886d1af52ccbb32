"""The end of a log, over its rotated files; read backwards, so a long log costs no more."""

import os
import stat
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retrace.service.logs import KEPT

MOST = 4 << 20  # bytes that are read for one answer
LONGEST = 4000  # characters of a line that are shown
BLOCK = 1 << 16


@dataclass(frozen=True)
class Tail:
    """lines: the oldest first. whole: whether the log has no older ones that were not looked at."""

    lines: list[str]
    whole: bool


def tail(home: Path, name: str, *, limit: int, contains: str = "") -> Tail:
    """The last `limit` lines of HOME/NAME.log and its older files that contain a text.

    name: of a log, without its ending; never from outside unchecked. At most `MOST` bytes are read.
    What is a link, or no file, is as if it were not there.
    """
    wanted, found = contains.encode(), deque[str]()
    with ExitStack() as stack:
        files, budget = _opened(stack, home, name), MOST
        for place, file in enumerate(files):
            end = file.seek(0, os.SEEK_END)
            carry = b""
            while end > 0 and budget > 0:
                size = min(BLOCK, end, budget)
                end -= size
                budget -= size
                file.seek(end)
                (*lines,) = (file.read(size) + carry).split(b"\n")
                carry = lines.pop(0)  # its beginning may stand in the block before
                if end == 0:
                    lines.insert(0, carry)
                for line in reversed(lines):
                    if line and wanted in line:
                        found.appendleft(_shown(line))
                        if len(found) == limit:
                            return Tail(list(found), whole=False)
            if end > 0 or (budget <= 0 and place + 1 < len(files)):
                return Tail(list(found), whole=False)
    return Tail(list(found), whole=True)


def _opened(stack: ExitStack, home: Path, name: str) -> list[BinaryIO]:
    """The files, the newest first, each once: one may be renamed between two looks."""
    found: dict[tuple[int, int], BinaryIO] = {}
    for ending in ("", *(f".{number}" for number in range(1, KEPT + 1))):
        try:
            handle = os.open(
                home / f"{name}.log{ending}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            )
        except OSError:
            continue
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            os.close(handle)
            continue
        file = stack.enter_context(os.fdopen(handle, "rb"))
        found.setdefault((about.st_dev, about.st_ino), file)
    return list(found.values())


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
