"""How many predictions are made at a time."""

import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import anyio

from retrace.service.problems import Problem
from retrace.service.settings import Settings

Found = TypeVar("Found")
_holds_one = ContextVar("holds_one", default=False)  # whether this request holds a slot


class Slots:
    """A context for each prediction: Problem 503 where all slots are taken.

    It belongs to the event loop.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = self._free = settings.concurrent
        # A part of a long recording takes up to 100 MB; more threads than processors gain nothing.
        self._threads = self._predicting = anyio.CapacityLimiter(os.cpu_count() or 1)
        if settings.predictor_url:  # they wait for another process, which must hold nobody else up
            self._predicting = anyio.CapacityLimiter(self._most)

    def __enter__(self) -> None:
        if not self._free:
            raise Problem(
                503,
                f"{self._most} predictions are being made, and no more at a time: send it again",
                Retry_After="1",
            )
        self._free -= 1
        _holds_one.set(True)

    def __exit__(self, *error: object) -> None:
        self._free += 1
        _holds_one.set(False)

    async def thread(self, work: Callable[..., Found], *given: Any, **options: Any) -> Found:
        """Do in a thread what takes longer than a moment; what finds none free waits here."""
        threads = self._predicting if _holds_one.get() else self._threads
        return await anyio.to_thread.run_sync(partial(work, *given, **options), limiter=threads)
