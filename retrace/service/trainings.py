"""Trainings of the gateway: checked at once, done as jobs, here or by the trainer."""

from typing import Any

from retrace.service import training, worktree
from retrace.service.jobs import Cancelled
from retrace.service.remote_training import RemoteTrainer
from retrace.service.settings import Settings
from retrace.service.state import Service
from retrace.service.tables import Job
from retrace.service.training import Asked
from retrace.service.worktree import Progress

KIND = "training"


def check(settings: Settings, asked: Asked) -> None:
    """Raises InputError for a training that cannot be, Problem 503 where nobody can train."""
    if settings.trainer_url:
        RemoteTrainer(settings).check(asked)
    else:
        training.checked(settings, asked)


def train(service: Service, job: Job, progress: Progress) -> dict[str, Any]:
    """The handler of the jobs of this kind: see `worker.HANDLERS`."""
    settings, asked = service.settings, Asked(**job.request)
    if not settings.trainer_url:
        text = training.checked(settings, asked)
        return worktree.train(settings, job.id, text, progress)
    trainer = RemoteTrainer(settings)
    try:
        return trainer.train(job.id, asked, progress)
    except Cancelled:  # or this worker stops, and the next one goes on watching
        if not _wanted(service, job):
            trainer.cancel(job.id)
        raise


def _wanted(service: Service, job: Job) -> bool:
    with service.database.read() as session:
        found = session.get(Job, job.id)
        return found is not None and found.state != "cancelled"
