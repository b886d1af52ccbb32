"""The worker: a process that does the jobs of the service, `python -m retrace.service.worker`, and
queues those that are due on a schedule.

Of each kind it does one at a time, the kinds side by side: a training of hours holds no recording
up. Several workers may share a database.
"""

import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from logging import getLogger
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.service import jobs, logs, monitor, predictions, scheduler, trainings
from retrace.service.database import Database
from retrace.service.jobs import Again, Cancelled, Result
from retrace.service.problems import Problem
from retrace.service.settings import read_settings
from retrace.service.state import Service, opened
from retrace.service.supervisor import LAST_WORDS
from retrace.service.tables import Job, Recording, now
from retrace.service.writer import insert_all

LOG = getLogger("retrace.service.worker")  # also where it is the program
RENEW = 3.0  # s; a lease outlasts four of these
LOOK = 0.5  # s between looks at the queue, and at whether to stop
PATIENCE = timedelta(hours=1)  # with a model or a predictor that is away
AWAY = 2.0  # s before a database that does not answer, or is full, is asked again
BEHIND = 10  # of the scheduler: who waits for an answer goes before a job
OUTAGE = (OperationalError, InterfaceError, PoolTimeout)


def recording(service: Service, job: Job, progress: Callable[[float], None]) -> Result:
    """Answer a stored recording. request: model, lead, detect."""
    with service.database.read() as session:
        row = session.get(Recording, job.recording_id)
    if row is None or job.user_id is None:
        raise Cancelled
    entry, _ = predictions.of_recording(service, job.user_id, row, **job.request, progress=progress)

    def keep(session: Session) -> dict[str, Any]:
        insert_all(session, [entry])
        return {"prediction": entry.row["id"]}

    return keep


# How each kind of job is done: (service, job, progress) -> what came of it, see `jobs.Result`.
# progress is called now and then with the share that is done; it raises `jobs.Cancelled` once the
# job is no longer this worker's, and the handler lets that pass.
Handler = Callable[[Service, Job, Callable[[float], None]], Result]
HANDLERS: dict[str, Handler] = {
    "recording": recording,
    trainings.KIND: trainings.train,
    monitor.EVALUATION: monitor.evaluate,
    monitor.DRIFT: monitor.look_for_drift,
}


def work_once(service: Service, kind: str, stop: threading.Event | None = None) -> bool:
    """Do the oldest job of this kind; False where there is none.

    stop: once it is set, the job is given back. Raises one of OUTAGE where the database does not
    answer before a job is taken; behind that, an outage is waited out.
    """
    stop = stop or threading.Event()
    name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
    job = jobs.claim(service.database, name, kind)
    if job is None:
        return False
    LOG.info("job %s (%s): attempt %d", job.id, kind, job.attempts)
    with _Heartbeat(service.database, job, stop) as heartbeat:
        try:
            how = _do(service, job, heartbeat.progress, stop)
        except Cancelled:
            how = "cancelled, or another worker's"
    LOG.info("job %s (%s): %s", job.id, kind, how)
    return True


def _do(
    service: Service, job: Job, progress: Callable[[float], None], stop: threading.Event
) -> str:
    """Do the job and write what came of it; returns that in words."""
    database = service.database
    try:
        result = HANDLERS[job.kind](service, job, progress)
        _written(partial(jobs.finish, database, job, result), stop)
        return "done"
    except Cancelled:
        raise
    except Exception as error:
        asked = isinstance(error, InputError) or (isinstance(error, Problem) and error.status < 500)
        last = asked or job.attempts == jobs.ATTEMPTS
        why = f"failed {jobs.ATTEMPTS} times, and the fault is the service's: ask its admin"
        away = isinstance(error, Problem) and error.status == 503
        again: Again = "failed"
        if away and now() - job.created < PATIENCE:
            again, last = "away", False
        if isinstance(error, InputError | Problem):
            why = str(error)
        else:
            LOG.exception("job %s (%s)", job.id, job.kind)
    if last:
        _written(partial(jobs.fail, database, job, why), stop)
        return f"failed: {why}"
    _written(partial(jobs.give_back, database, job, again), stop)
    return "to be tried again"


def _written(write: Callable[[], None], stop: threading.Event) -> None:
    """Write, once the database answers."""
    while True:
        try:
            return write()
        except OUTAGE as error:
            _tell(error)
            if stop.wait(AWAY):
                raise Cancelled from None


def _tell(error: SQLAlchemyError) -> None:
    """Log that the database fails; its words may hold what was to be written."""
    LOG.error("the database: %s", type(getattr(error, "orig", error)).__name__)


class _Heartbeat:
    """Holds a job while it is done, and learns when it is lost."""

    def __init__(self, database: Database, job: Job, stop: threading.Event) -> None:
        self._database, self._job, self._stop = database, job, stop
        self._share, self._lost, self._over = 0.0, False, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def progress(self, share: float) -> None:
        """Note the share that is done, for the next beat; Cancelled where the job is lost."""
        if self._lost:
            raise Cancelled
        self._share = min(max(share, 0.0), 1.0)

    def _beat(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(LOOK):
            try:
                if self._stop.is_set():
                    jobs.give_back(self._database, self._job, "stopped")
                    self._lost = True
                    return
                if time.monotonic() - renewed >= RENEW:
                    jobs.renew(self._database, self._job, self._share)
                    renewed = time.monotonic()
            except Cancelled:
                self._lost = True
                return
            except SQLAlchemyError as error:  # the lease may run out, or the next beat succeed
                _tell(error)


def _work(service: Service, kind: str, stop: threading.Event) -> None:
    """Do the jobs of one kind until told to stop."""
    pause = 0.0
    try:
        while not stop.wait(pause):
            try:
                pause = 0.0 if work_once(service, kind, stop) else LOOK
            except OUTAGE as error:
                _tell(error)
                pause = AWAY
    finally:
        stop.set()  # where one kind's thread falls, the process ends and another one starts


def _end_with_parent(stop: threading.Event) -> None:
    """Stop when the server is gone; its end of the pipe closes however it ended."""
    while os.read(0, 1):  # not sys.stdin: its lock, held here, would break the end of Python
        pass
    stop.set()
    time.sleep(LAST_WORDS)
    os._exit(1)  # a job that does not come to an end is given back already


def main(arguments: list[str]) -> None:
    """Work until SIGTERM, or with --with-parent until the server ends.

    Settings come from the environment and from RETRACE_HOME/service.env, as those of the server.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.nice(BEHIND)
    if "--with-parent" in arguments:
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    home = Path(os.environ.get("RETRACE_HOME", "var"))
    settings = read_settings(home, Path(os.environ.get("RETRACE_ROOT", "")))
    with logs.writing(home, "worker"), opened(settings) as service:
        threads = [
            threading.Thread(target=_work, args=(service, kind, stop), name=kind)
            for kind in HANDLERS
        ]
        threads.append(
            threading.Thread(target=scheduler.run, args=(service, stop), name="schedule")
        )
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
    except OUTAGE:
        sys.exit("the worker: the database does not answer: start it")
