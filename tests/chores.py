"""What tests give workers to do; light to import, since every worker does."""

import os
import signal
import sys

from retrace import workers
from retrace.errors import InputError


def square(number: int) -> int:
    """Refuses 13."""
    if number == 13:
        raise InputError("13 brings bad luck")
    return number * number


def home(_: object) -> int:
    """The process that works."""
    return os.getpid()


def die(_: object) -> None:
    """As a process that the system ends for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":  # work without an end; prints who does it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    workers.BATCH = 1
    with workers.spread() as mapped:
        for worker in mapped(home, iter(bytes, None)):
            print(worker)
            sys.stdout.flush()
