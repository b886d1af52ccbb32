"""A desk whose model is monitored, for tests: evaluations find what the test says."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from retrace.runs.answers import Answers
from retrace.service import (
    evaluations,
    jobs,
    mail,
    scheduler,
    tables,
    tables_models,
    trainings,
    worker,
)
from retrace.service.measured import of_counts
from retrace.service.truths import kept_out
from tests.desk import CLASSES, DATABASES, MODEL, Desk, beats, open_desk

PATH = f"/monitoring/{MODEL}"
TO = ["ward@example.org", "lab@example.org"]
WATCH: dict[str, Any] = {
    "metric": "f1_macro",
    "newest": 20,
    "least": 500,
    "suspend_below": 0.6,
    "mail": TO,
}
# People of whom trainings may learn, and must not.
FREE = next(f"p-{n}" for n in range(99) if not kept_out(f"p-{n}"))
HELD = next(f"p-{n}" for n in range(99) if kept_out(f"p-{n}"))
TRAINING = {"recipe": MODEL, "data": "all"}


@dataclass(frozen=True)
class Monitored:
    """The desk, and what evaluations find on it."""

    desk: Desk
    patch: pytest.MonkeyPatch

    @property
    def service(self) -> Any:
        return self.desk.service

    def ask(self, method: str, path: str = "", who: str = "staff", **options: Any) -> Any:
        """A request below /monitoring/MODEL."""
        return self.desk.ask(method, PATH + path, who, **options)

    def watch(self, **changes: Any) -> None:
        """Set the watch WATCH with these changes."""
        answer = self.ask("PUT", "/watch", json=WATCH | changes)
        assert answer.status_code == 200, answer.text

    def finds(
        self,
        value: float,
        classes: str = "NSV",
        *,
        few: str = "",
        segments: int = 3000,
        persons: int | None = 9,
        version: int = 1,
    ) -> None:
        """Let evaluations find this much of each class, so that a mean over them is as much, and of
        `few` classes an answer that is wrong. The test part has N, S, V and F."""
        each = segments // len(classes)
        right = round(value * each)
        confusion = np.zeros((len(CLASSES), len(CLASSES)))
        here = [CLASSES.index(name) for name in classes]
        for place, row in enumerate(here):
            confusion[row, row] += right
            confusion[row, here[place - 1]] += each - right
        for name in few:
            confusion[CLASSES.index(name), here[0]] += 1
        answers = Answers(CLASSES, (("patient", "p"),), confusion[np.newaxis])
        newest = of_counts(answers) | {"segments": segments, "persons": persons}
        newest["scores"]["f1_macro"] |= {"low": 0.1, "high": 0.9}
        newest["subgroups"] = {"sex": {"f": {"segments": 400}}}
        support = dict.fromkeys(CLASSES[:4], 100) | {"Q": 4}
        result = {"version": version, "test": {"support": support}, "newest": newest}
        self.patch.setattr(evaluations, "evaluate", lambda *_, **__: dict(result))

    def evaluated(
        self, value: float, classes: str = "NSV", newest: int = 20, **changes: Any
    ) -> None:
        """An evaluation of so many recordings, the watch says 20, is asked for and finds this."""
        self.finds(value, classes, **changes)
        answer = self.ask("POST", "/evaluate", json={"newest": newest})
        assert answer.status_code == 202, answer.text
        assert worker.work_once(self.service, "evaluation")

    def rows(self, table: Any) -> list[Any]:
        with self.service.database.read() as session:
            return list(session.scalars(select(table).order_by(table.id)))

    def mails(self) -> list[tuple[str, str]]:
        return [
            (row.to, row.subject.removeprefix(f"Retrace: {MODEL}: "))
            for row in self.rows(tables.Mail)
        ]

    def states(self, kind: str) -> list[str]:
        """Of the jobs of a kind."""
        return [job.state for job in self.rows(tables.Job) if job.kind == kind]


@pytest.fixture(scope="module", params=DATABASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mail, "sending", lambda *_: nullcontext())  # the rows are looked at
        with open_desk(request.param, tmp_path_factory.mktemp("desk")) as desk:
            yield desk


@pytest.fixture
def monitored(opened: Desk, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    """The desk with nothing on it."""
    opened.clear()
    monkeypatch.setattr(scheduler, "_told", {})
    with opened.service.database.write() as session:
        for table in (
            tables_models.Watch,
            tables_models.Evaluation,
            tables_models.Suspension,
            tables.Job,
            tables.Recording,
        ):
            session.execute(delete(table))
    opened.service.follower.follow()
    return Monitored(opened, monkeypatch)


def tick(monitored: Monitored, after: timedelta = timedelta()) -> list[str]:
    return scheduler.tick(monitored.service, tables.now() + after)


@pytest.fixture
def training(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trainings that are queued unchecked; what was asked of each."""
    asked: list[tuple[Any, str]] = []

    def submit(
        session: Any, who: Any, settings: Any, given: Any, why: str = "", form: Any = None
    ) -> tables.Job:
        asked.append((given, why))
        return jobs.submit(session, who, trainings.KIND, {"model": given.model, "why": why})

    monkeypatch.setattr(trainings, "check", lambda *_: None)
    monkeypatch.setattr(trainings, "submit", submit)
    return asked


def done(monitored: Monitored, state: str = "done") -> None:
    """All jobs end so."""
    with monitored.service.database.write() as session:
        for job in session.scalars(select(tables.Job)):
            job.state, job.finished = state, tables.now()


def feedback(monitored: Monitored, wrong: int, right: int = 0) -> None:
    """Answers of the model, of which staff say that so many are wrong, and so many are right."""
    said = monitored.desk.predicted(beats("N" * (wrong + right)))
    with monitored.service.database.write() as session:
        for segment in range(wrong + right):
            session.add(
                tables.Feedback(
                    prediction_id=said["id"],
                    segment=segment,
                    answered="N",
                    label="V" if segment < wrong else "N",
                )
            )


def upload(monitored: Monitored, count: int, person: str | None = FREE) -> None:
    """A recording with so many labelled beats."""
    with monitored.service.database.write() as session:
        session.add(
            tables.Recording(
                user_id=monitored.desk.people["staff"].id,
                person=person,
                name="r",
                file="r.hea",
                fs=360.0,
                leads=["MLII"],
                samples=1,
                labels={"N": count, "~": 99, "(N": 1},
                bytes=1,
                sha256="0" * 64,
            )
        )
