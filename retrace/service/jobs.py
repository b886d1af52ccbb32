"""Work that outlasts a request: the table of jobs is the queue, and no other one is needed.

A worker holds a job until its lease ends and renews that as it works. Whoever finds a lease in the
past takes the job over; from then on the first worker can write nothing of it, since all it
writes asks for its own name and attempt. So a job's result is stored once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from retrace.service.access import Principal
from retrace.service.database import Database
from retrace.service.problems import Problem
from retrace.service.tables import Job, now

Again = Literal["failed", "away", "stopped"]

LEASE = timedelta(seconds=15)
PAUSE = timedelta(seconds=10)  # before a job that failed is tried again
ATTEMPTS = 3
OPEN = ("queued", "running")
MOST = 100  # open jobs of one account

# What came of a job. Where rows are stored with it: a function that stores them in the session it
# is given, which is that in which the job is done.
Result = dict[str, Any] | Callable[[Session], dict[str, Any]]


class Cancelled(Exception):
    """The job is no longer this worker's: it was cancelled, deleted, taken over or given back."""


def submit(
    session: Session,
    who: Principal | None,
    kind: str,
    request: dict[str, Any],
    recording_id: str | None = None,
) -> Job:
    """Queue a job in the transaction of `session`; a worker takes it once that is committed.

    who: None where the service itself asks. kind: of `worker.HANDLERS`. Raises Problem 429 where
    the account has MOST jobs open.
    """
    mine = select(func.count()).where(Job.user_id == (who and who.user_id), Job.state.in_(OPEN))
    if who and (session.scalar(mine) or 0) >= MOST:
        raise Problem(
            429,
            f"{MOST} jobs of this account wait or run, and no more are taken: wait, or cancel some",
            Retry_After="60",
        )
    job = Job(user_id=who and who.user_id, kind=kind, request=request, recording_id=recording_id)
    session.add(job)
    session.flush()
    return job


def claim(database: Database, worker: str, kind: str) -> Job | None:
    """Take the oldest job of this kind that nobody holds; None where there is none.

    A job whose workers have all died is ended on the way: what kills a worker would kill the next.
    """
    unheld = (
        Job.kind == kind,
        Job.state.in_(OPEN),
        or_(Job.lease.is_(None), Job.lease < now()),
    )
    with database.read() as session:  # most of the time there is nothing, and nothing is locked
        if session.scalar(select(Job.id).where(*unheld).limit(1)) is None:
            return None
    with database.write() as session:
        oldest = select(Job).where(*unheld).order_by(Job.id).limit(1)
        while job := session.scalar(oldest.with_for_update(skip_locked=True)):
            if job.attempts < ATTEMPTS:
                job.state, job.worker, job.lease = "running", worker, now() + LEASE
                job.attempts += 1
                return job
            _end(job, "failed", f"tried {ATTEMPTS} times, and the worker died each time")
    return None


def renew(database: Database, job: Job, progress: float) -> None:
    """Hold the job for another lease; raises Cancelled where it is no longer this worker's."""
    with _held(database, job) as (_, mine):
        mine.lease, mine.progress = now() + LEASE, progress


def finish(database: Database, job: Job, result: Result) -> None:
    """Store what came of it, and that it is done, together; Cancelled as `renew`."""
    with _held(database, job) as (session, mine):
        mine.result = result(session) if callable(result) else result
        mine.progress = 1.0
        _end(mine, "done")


def fail(database: Database, job: Job, why: str) -> None:
    """End it without a result. why: one sentence for who asked. Cancelled as `renew`."""
    with _held(database, job) as (_, mine):
        _end(mine, "failed", why)


def give_back(database: Database, job: Job, why: Again) -> None:
    """Queue it again, for a while later unless the worker stops. why: it failed, which counts; what
    it needs is away, or the worker stops, which do not. Cancelled as `renew`."""
    with _held(database, job) as (_, mine):
        mine.state, mine.worker = "queued", None
        mine.lease = None if why == "stopped" else now() + PAUSE
        mine.attempts -= why != "failed"


def cancel(job: Job) -> None:
    """End a job that waits or runs: its worker sees that it is no longer its own, and stops."""
    _end(job, "cancelled")


def _end(job: Job, state: str, error: str | None = None) -> None:
    job.state, job.error, job.lease, job.finished = state, error, None, now()


@contextmanager
def _held(database: Database, job: Job) -> Iterator[tuple[Session, Job]]:
    """The row of a job that is still this worker's, locked until the transaction ends."""
    with database.write() as session:
        mine = session.scalar(
            select(Job)
            .where(
                Job.id == job.id,
                Job.state == "running",
                Job.worker == job.worker,
                Job.attempts == job.attempts,
            )
            .with_for_update()
        )
        if mine is None:
            raise Cancelled
        yield session, mine
