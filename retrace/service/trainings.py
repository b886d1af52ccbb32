"""Trainings of the gateway: checked at once, done as jobs, here or by the trainer; then compared
with what is in production, registered, and promoted where a rule of the staff says so.

What a job has promised is done in one transaction with its end. A training that fails, is
cancelled or killed leaves production and registry as they were.
"""

import shutil
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.service import (
    audit,
    compared,
    jobs,
    registry,
    results,
    training,
    training_data,
    watches,
    worktree,
)
from retrace.service.access import Principal
from retrace.service.jobs import Cancelled, Result
from retrace.service.remote_training import RemoteTrainer
from retrace.service.settings import Settings
from retrace.service.state import Service
from retrace.service.tables import Job
from retrace.service.tables_models import Version
from retrace.service.training import Asked
from retrace.service.training_data import Collected, Form
from retrace.service.worktree import Progress

KIND = "training"
COLLECTED, TRAINED = 0.05, 0.9  # of the whole, when recordings are written, when it is trained
EVERY = 5.0  # s between looks whether the recordings that it learns from are still there


def check(settings: Settings, asked: Asked) -> Form:
    """How the data of a training are read.

    Raises InputError for a training that cannot be, Problem 503 where nobody can train.
    """
    if settings.trainer_url:
        return RemoteTrainer(settings).check(asked)
    return training.form(training.checked(settings, asked))


def submit(
    session: Session,
    who: Principal | None,
    settings: Settings,
    asked: Asked,
    why: str = "",
    form: Form | None = None,
) -> Job:
    """Queue a training that `check` has let pass, and note it in the audit.

    who: None where the service itself asks. why: its reason. form: what `check` has returned;
    without it a class that is missing is found later where a trainer has the recipes. Raises
    InputError where there is too little to learn from.
    """
    if form is None and asked.data == "newest" and not settings.trainer_url:
        form = check(settings, asked)
    enough(session, asked, form)
    request = asked.model_dump() | {"model": asked.name, "why": why}
    job = jobs.submit(session, who, KIND, request)
    by = who.user_id if who else None
    named = {"recipe": asked.recipe, "model": asked.name, "data": asked.data}
    audit.record(session, "training.start", by=by, subject=job.id, **named)
    return job


def enough(session: Session, asked: Asked, form: Form | None) -> None:
    """Raise InputError where there is too little to learn from. form: as `submit`."""
    if asked.data != "recipe":
        rows = training_data.candidates(session, asked.name, asked.data)
        training_data.check(rows, asked.data, form)


def train(service: Service, job: Job, progress: Progress) -> Result:
    """The handler of the jobs of this kind: see `worker.HANDLERS`."""
    asked = Asked(**{name: job.request[name] for name in Asked.model_fields if name in job.request})
    sweep(service)
    return _Training(service, job, asked, progress).run()


def sweep(service: Service) -> None:
    """Remove what trainings that are over have left."""

    def wanted() -> set[str]:
        with service.database.read() as session:
            open_ = select(Job.id).where(Job.kind == KIND, Job.state.in_(jobs.OPEN))
            return set(session.scalars(open_))

    worktree.sweep(service.settings, wanted)


class _Training:
    """One training, from the recordings that it learns from to what becomes of its version."""

    def __init__(self, service: Service, job: Job, asked: Asked, progress: Progress) -> None:
        self._service, self._settings = service, service.settings
        self._job, self._asked, self._progress = job, asked, progress
        folder = service.settings.home.absolute() / worktree.FOLDER
        self._out = folder / f"{job.id}{worktree.OUT}"
        self._own = folder / f"{job.id}.{training.OWN}"
        self._collected = Collected()
        self._looked = time.monotonic()

    def run(self) -> Result:
        try:
            found = self._trained()
            if left_out := self._collected.left_out:
                found["data"]["left_out"] = dict(left_out) | found["data"].get("left_out", {})
            comparison = self._compared(found)
            if not self._wanted():
                raise Cancelled
            return self._kept(found, comparison)
        except BaseException as error:
            # Another attempt goes on with what is there, as where this worker stops.
            again = not isinstance(error, InputError) and self._job.attempts < jobs.ATTEMPTS
            if not (again and self._wanted()):
                self._remove()
            raise

    def _trained(self) -> dict[str, Any]:
        settings, name = self._settings, self._job.id
        if not settings.trainer_url:
            text = training.checked(settings, self._asked)
            own = self._collect(training.form(text))
            return worktree.train(settings, name, text, self._share, own)
        trainer = RemoteTrainer(settings)
        try:
            if not trainer.knows(name):
                own = self._collect(trainer.check(self._asked))
                trainer.order(name, self._asked, own, self._share)
                shutil.rmtree(self._own, ignore_errors=True)
            return trainer.follow(name, self._out, self._share)
        except Cancelled:
            if not self._wanted():
                trainer.cancel(name)
            raise
        except InputError:
            trainer.cancel(name)
            raise

    def _collect(self, form: Form) -> Path | None:
        """Write the own recordings that it learns from; None where it learns from none."""
        model, data = self._asked.name, self._asked.data
        if data == "recipe" or results.read(self._out) is not None:
            return None
        with self._service.database.read() as session:
            rows = training_data.chosen(session, model, data)
        training_data.check(rows, data, form)
        self._collected = training_data.collect(
            self._service, rows, form, self._own, lambda share: self._progress(share * COLLECTED)
        )
        return self._own

    def _share(self, share: float) -> None:
        self._progress(COLLECTED + share * (TRAINED - COLLECTED))
        if self._collected.recordings and time.monotonic() - self._looked > EVERY:
            self._looked = time.monotonic()
            with self._service.database.read() as session:
                training_data.check_present(session, self._collected.recordings)

    def _compared(self, found: dict[str, Any]) -> dict[str, Any]:
        return compared.candidate(
            self._service,
            self._asked.name,
            Predictor(self._out / results.MODEL),
            found["data"],
            self._out,
            (self._out / results.PARAMS).read_text(encoding="utf-8"),
            progress=lambda share: self._progress(TRAINED + share * (1 - TRAINED)),
        )

    def _kept(self, found: dict[str, Any], comparison: dict[str, Any]) -> Result:
        """What registers it in the transaction in which the job is done."""
        asked, job, settings = self._asked, self._job, self._settings
        new = registry.New(
            model=asked.name,
            source="training",
            files=self._out,
            weights=found["weights"],
            file=found["file"],
            commit=found["commit"],
            data={"kind": asked.data, "recordings": [], "persons": 0} | found["data"],
            metrics={"validation": found["validation"], "test": found["test"]},
            comparison=comparison,
            params=(self._out / results.PARAMS).read_text(encoding="utf-8"),
            lock=found["dvc.lock"],
            job_id=job.id,
            user_id=job.user_id,
        )
        registry.settle(new)
        placed: list[str] = []  # once, however often the database is away

        def keep(session: Session) -> dict[str, Any]:
            try:
                training_data.check_present(session, new.data["recordings"])
            except InputError:
                self._remove()
                raise
            if not placed:
                (self._out / results.RESULT).unlink()
                placed.append(registry.place(settings.home, new))
            if not registry.path(settings, placed[0]).is_dir():
                raise InputError(
                    "training: the database was away so long that its files were swept: train again"
                )
            version = registry.register(session, placed[0], new)
            promoted, words = self._promoted(session, version, comparison)
            return found | {
                "version": version.number,
                "comparison": comparison,
                "promoted": promoted,
                "rule": words,
            }

        return keep

    def _promoted(
        self, session: Session, version: Version, comparison: dict[str, Any]
    ) -> tuple[bool, str]:
        """Promote the new version where the staff's rule holds; whether, and why or why not.

        What came into production during the comparison was not compared, and stays.
        """
        model, settings = version.model, self._settings
        rule = watches.current(session, model)
        holds, words = watches.holds(rule, comparison)
        present = registry.production(session, model)  # it stays: `register` has locked the model
        number = present.number if present else None
        if holds and number != comparison["against"]:
            holds = False
            words = (
                f"No promotion by rule: version {number} came into production meanwhile, with "
                "which it was not compared."
            )
        if holds:
            registry.promote(session, settings, model, version.number, by=None, reason=words)
        if holds or self._job.user_id is None:
            done = "promoted by rule" if holds else "trained"
            watches.tell(session, settings, model, f"version {version.number} {done}", words)
        return holds, words

    def _wanted(self) -> bool:
        """Whether it was neither cancelled nor deleted, as far as can be told."""
        try:
            with self._service.database.read() as session:
                found = session.get(Job, self._job.id)
                return found is not None and found.state in jobs.OPEN
        except SQLAlchemyError:
            return True

    def _remove(self) -> None:
        for path in (self._out, self._own):
            shutil.rmtree(path, ignore_errors=True)
