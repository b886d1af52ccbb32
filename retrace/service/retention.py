"""What goes by itself: what has been kept for long enough, and what a crash left behind."""

from __future__ import annotations

import fcntl
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from logging import getLogger
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import SQLAlchemyError

from retrace.service import recordings, tables

if TYPE_CHECKING:
    from retrace.service.state import Service

LOG = getLogger(__name__)
EVERY = 3600.0  # s
GROUP = 1000  # rows that go at once: others who write wait no longer than that takes
DAY = 86_400.0  # s; no upload takes so long


@contextmanager
def kept(service: Service) -> Iterator[None]:
    """Sweep now; expire now, and every hour as long as this lasts."""
    home = service.settings.home
    for name in (recordings.INCOMING, recordings.KEPT):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / recordings.INCOMING / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another server stores into these folders: what it writes has no row yet
        else:
            sweep(service)
        fcntl.flock(lock, fcntl.LOCK_SH)
        stop = threading.Event()
        thread = threading.Thread(target=_run, args=(service, stop), name="retention")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def sweep(service: Service, seconds: float = 0.0) -> None:
    """Remove the files of uploads that were never finished, and of recordings without a row.

    seconds: younger ones stay, since another server may be about to store them.
    """
    home, end = service.settings.home, time.time() - seconds
    incoming = list((home / recordings.INCOMING).iterdir())
    stored = list((home / recordings.KEPT).iterdir())
    with service.database.read() as session:
        known = set(session.scalars(select(tables.Recording.id)))
    for folder in (*incoming, *stored):
        if folder.is_dir() and folder.name not in known and folder.stat().st_ctime <= end:
            shutil.rmtree(folder, ignore_errors=True)


def expire(service: Service) -> None:
    """Remove recordings and predictions that are older than the settings keep them."""
    days = service.settings.retention_days
    if days is None:
        return
    end = tables.now() - timedelta(days=days)
    gone = 0
    while some := recordings.remove(
        service, _group(tables.Recording, end), by=None, why="retention"
    ):
        gone += some
    while _forgotten(service, _group(tables.Prediction, end)):
        pass
    if gone:
        LOG.info("%d recordings were older than %g days and are removed", gone, days)


def _group(table: type[tables.Recording | tables.Prediction], end: datetime) -> ColumnElement[bool]:
    """Whether a row is one of `GROUP` from before `end`."""
    return table.id.in_(select(table.id).where(table.created < end).limit(GROUP))


def _forgotten(service: Service, condition: ColumnElement[bool]) -> bool:
    """Remove the predictions of which this is true; whether there were any."""
    with service.database.write() as session:
        rows = delete(tables.Prediction).where(condition).returning(tables.Prediction.id)
        return bool(session.scalars(rows).all())


def _run(service: Service, stop: threading.Event) -> None:
    while True:
        try:
            expire(service)
            sweep(service, DAY)
        except (SQLAlchemyError, OSError) as error:
            LOG.error("nothing has expired: %s", type(error).__name__)
        if stop.wait(EVERY):
            return
