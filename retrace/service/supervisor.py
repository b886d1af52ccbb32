"""The server's own worker: started beside it, started again when it dies, stopped with it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger

from retrace.service.settings import Settings

LOG = getLogger(__name__)
LOOK = 0.2  # s between looks at whether it lives
LAST_WORDS = 10.0  # s that it has to give its jobs back and end
SHORTEST, LONGEST = 1.0, 60.0  # s before the next one starts: twice as long after each that fell
STEADY = 60.0  # s after which a worker had not fallen at its start


@contextmanager
def kept(settings: Settings) -> Iterator[None]:
    """Keep a worker alive as long as this lasts, where the settings say so.

    It watches its standard input, whose other end this process alone holds: so it ends with the
    server, however that ends.
    """
    if not settings.worker:
        yield
        return
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(settings, stop), name="supervisor")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep(settings: Settings, stop: threading.Event) -> None:
    pause = SHORTEST
    while not stop.is_set():
        begun, process = time.monotonic(), _started(settings)
        while process.poll() is None and not stop.wait(LOOK):
            pass
        if process.poll() is None:
            _end(process)
            return
        if time.monotonic() - begun >= STEADY:
            pause = SHORTEST
        LOG.error("the worker ended with %s; another starts in %g s", process.returncode, pause)
        stop.wait(pause)
        pause = min(2 * pause, LONGEST)


def _started(settings: Settings) -> subprocess.Popen[bytes]:
    """A worker with the environment of the server, and so with its settings."""
    home, root = settings.home.absolute(), settings.root.absolute()
    return subprocess.Popen(
        [sys.executable, "-m", "retrace.service.worker", "--with-parent"],
        env=os.environ | {"RETRACE_HOME": str(home), "RETRACE_ROOT": str(root)},
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the server, which then ends the worker in order
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(LAST_WORDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
