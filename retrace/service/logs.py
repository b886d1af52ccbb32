"""HOME/app.log: what happened and when, never what was sent."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

FORM = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
LARGEST, KEPT = 10 << 20, 5  # bytes of a file, and how many older ones stay
# These write a line for each request that we make, with its address.
TALKATIVE = ("httpx2", "httpcore2")


class Discreet(logging.Formatter):
    """One line for each message, and errors by kind and place alone: what an error says of itself
    may quote what was sent."""

    _second, _clock = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Local time; a second is put into words once, which a busy service notices."""
        second = int(record.created)
        if second != self._second:
            self._clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        return f"{self._clock},{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        """The line and the error; what another handler made of the error is left."""
        record.exc_text = None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line; a line break in it would look like a line of its own."""
        return super().formatMessage(record).replace("\r", " ").replace("\n", " ")

    def formatException(self, ei: Any) -> str:
        """The chain of errors, each with its frames and without its message."""
        said: list[str] = []
        error, seen = ei[1], set[int]()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            said[:0] = [*traceback.format_tb(error.__traceback__), f"{kind}\n"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(said).rstrip()


class _File(RotatingFileHandler):
    """The same, but each line is formatted once, and the file is not asked for its size."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, in a new file where this one would grow too long."""
        try:
            line = self.format(record) + "\n"
            if self.stream is None or self.stream.tell() + len(line) > self.maxBytes:
                self.doRollover()
            assert self.stream
            self.stream.write(line)
            self.stream.flush()
        except Exception:
            self.handleError(record)


@contextmanager
def writing(home: Path, name: str = "app") -> Iterator[None]:
    """Send what all loggers say to HOME/NAME.log, and warnings to stderr too.

    One process writes a file: each kind of process has a name of its own. A disk that is full
    stops the log, not the service.
    """
    file = _File(home / f"{name}.log", maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8")
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING)
    root = logging.getLogger()
    before = (root.level, logging.raiseExceptions)
    for handler in (file, screen):
        handler.setFormatter(Discreet(FORM))
        root.addHandler(handler)
    for other in TALKATIVE:
        logging.getLogger(other).setLevel(logging.WARNING)
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False
    try:
        yield
    finally:
        root.level, logging.raiseExceptions = before
        for handler in (file, screen):
            root.removeHandler(handler)
            handler.close()
