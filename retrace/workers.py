"""Work that is spread over processes, or over a Ray cluster, and comes back in order.

The driver alone reads and writes. The items travel to the workers and the results back, in batches
and a bounded number of them at a time: memory stays bounded, and the nodes of a cluster need share
no disk. The results are those of the built-in `map`, to the byte, for any number of workers; so is
the error, that of the first item which has one.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from retrace.errors import InputError

VARIABLE = "RETRACE_WORKERS"
LONGEST = 70  # characters of TMPDIR: the path of a socket has 103 on some systems, 107 on others
PATIENCE = 10.0  # s of CPU time before processes, which take about two to start, are worth it
MOST = 8  # of our own choice: more than one reader and writer keeps busy
BATCH = 1_000_000  # bytes of items at least, so that many small ones cost no message each
AHEAD = 2  # batches for each worker: one to work on, one that waits
BUDGET = 256_000_000  # bytes of items under way, where that is more than a batch for each worker

T = TypeVar("T")
R = TypeVar("R")
Answer = tuple[list[Any], InputError | None]  # the results up to the first error


class Mapped(Protocol):
    """The built-in `map` of one iterable."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


class Pool(NamedTuple):
    """Workers. submit(function, batch) begins and returns what waits for the answer."""

    size: int
    submit: Callable[[Callable[[Any], Any], list[bytes]], Callable[[], Answer]]


@contextmanager
def spread() -> Iterator[Mapped]:
    """A `map` whose function runs elsewhere; it and its items must be ones that pickle takes.

    RAY_ADDRESS names a Ray cluster to join. Else RETRACE_WORKERS is the number of processes; where
    it is not set, what takes longer than `PATIENCE` goes to as many as there are CPUs, and the rest
    stays here. Neither is a param, since they change no result.

    Raises:
        InputError: RETRACE_WORKERS is no number from 1, the cluster does not answer, or a worker
            was ended from outside.
    """
    asked = _asked()
    with ExitStack() as stack:
        if address := os.environ.get("RAY_ADDRESS"):
            from retrace.cluster import joined

            yield partial(_in_order, stack.enter_context(joined(address)))
        elif (asked or _cpus()) == 1:
            yield map
        else:
            yield partial(_here_first, stack, asked)


def _asked() -> int | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(
            f"{VARIABLE} is {text!r} but must be a whole number from 1, of processes: "
            f"{_cpus()} suits this machine"
        )
    return int(text)


def _cpus() -> int:
    """What this process may use of the machine, `MOST` at most."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return min(len(allowed) or os.cpu_count() or 1, MOST)


def _here_first(
    stack: ExitStack, asked: int | None, function: Callable[[T], R], items: Iterable[T], /
) -> Iterator[R]:
    """As `map`; with processes from the start, or once it turns out to be worth them."""
    rest = iter(items)
    begun = time.process_time()  # a busy machine makes no work longer
    if asked is None:
        for item in rest:
            yield function(item)
            if time.process_time() - begun > PATIENCE:
                break
        else:
            return
    pickle.dumps(function)  # raises: one that cannot be sent would hang the pool on Python 3.11
    yield from _in_order(stack.enter_context(_processes(asked or _cpus())), function, rest)


def _in_order(pool: Pool, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
    """As `map`: an item that cannot be read is an error after the results of those before it."""
    waiting: deque[tuple[int, Callable[[], Answer]]] = deque()
    under_way = 0  # bytes
    broken: list[Exception] = []
    for batch in _batches(items, broken):
        size = sum(map(len, batch))
        waiting.append((size, pool.submit(function, batch)))
        under_way += size
        while len(waiting) > (pool.size if under_way > BUDGET else AHEAD * pool.size):
            size, answer = waiting.popleft()
            under_way -= size
            yield from _results(answer)
    while waiting:
        yield from _results(waiting.popleft()[1])
    if broken:
        raise broken[0]


def _results(answer: Callable[[], Answer]) -> Iterator[Any]:
    results, error = answer()
    yield from results
    if error:
        raise error


def _batches(items: Iterable[Any], broken: list[Exception]) -> Iterator[list[bytes]]:
    """The items, pickled; what ends them too early goes into `broken`."""
    batch: list[bytes] = []
    size, rest = 0, iter(items)
    while True:
        try:
            batch.append(pickle.dumps(next(rest), pickle.HIGHEST_PROTOCOL))
        except StopIteration:
            break
        except Exception as error:
            broken.append(error)
            break
        size += len(batch[-1])
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def answered(function: Callable[[Any], Any], batch: list[bytes]) -> Answer:
    """What a worker does with a batch."""
    results: list[Any] = []
    for item in batch:
        try:
            results.append(function(pickle.loads(item)))  # noqa: S301 - the driver's own
        except InputError as error:
            return results, error
    return results, None


@contextmanager
def _processes(count: int) -> Iterator[Pool]:
    if len(folder := tempfile.gettempdir()) > LONGEST:
        raise InputError(
            f"TMPDIR is {folder!r} but must have {LONGEST} characters at most, for processes to "
            f"speak through sockets in it: set a shorter one, or {VARIABLE}=1"
        )
    # Workers are forked, for the imports cost seconds, but not off this process and its threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in sys.modules if name.startswith("retrace.")])
    executor = ProcessPoolExecutor(count, context, initializer=_follow_the_driver)

    def submit(function: Callable[[Any], Any], batch: list[bytes]) -> Callable[[], Answer]:
        return executor.submit(answered, function, batch).result

    try:
        yield Pool(count, submit)
    except BrokenProcessPool:
        raise InputError(
            f"a worker process was ended from outside, most often for want of memory, and nothing "
            f"was left half-written: free some, or set {VARIABLE} below {count} (1 needs least)"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _follow_the_driver() -> None:
    """Ctrl-C is the driver's to handle; and where it is killed, its workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = multiprocessing.parent_process()

    def end() -> None:
        if driver is not None:
            driver.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()
