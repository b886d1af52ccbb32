"""A desk of the staff, for tests: the application in this process with one model, the accounts,
and answers that are made up."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import delete
from starlette.testclient import TestClient

from retrace.deploy.answers import Answer
from tests.serving import (
    SERVER,
    Person,
    accounts_of,
    in_process,
    postgres_database,
    service_settings,
)

MODEL = "mitdb_ds1_ds2"
CLASSES = ("N", "S", "V", "F", "Q")
DATABASES = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(
            not SERVER, reason="RETRACE_TEST_POSTGRES names no PostgreSQL server"
        ),
    ),
]


def beats(names: Sequence[str], p: float = 0.9, **changes: Any) -> Answer:
    """A beat a second, at 360 Hz; each of the class named, with probability `p`."""
    classes: tuple[str, ...] = changes.pop("classes", CLASSES)
    probabilities = np.full((len(names), len(classes)), (1 - p) / (len(classes) - 1))
    probabilities[range(len(names)), [classes.index(name) for name in names]] = p
    samples = np.arange(1, len(names) + 1, dtype=np.int64) * 360
    given: dict[str, Any] = {
        "name": "100",
        "fs": 360.0,
        "seconds": float(len(names) + 1),
        "unit": "beat",
        "samples": samples,
        "span": 0.5,
        "classes": classes,
        "probabilities": probabilities,
        "together": None,
        "peaks": samples,
        "peaks_from": "annotations",
    }
    return Answer(**given | changes)


@dataclass(frozen=True)
class Desk:
    """The application and the headers of its accounts."""

    client: TestClient
    people: dict[str, Person]

    @property
    def service(self) -> Any:
        """The parts of the application."""
        return self.client.app.state.service  # type: ignore[attr-defined]

    def ask(self, method: str, path: str, who: str = "staff", **options: Any) -> Any:
        """A request in the name of an account; "" for nobody."""
        headers = self.people[who].headers if who else {}
        return self.client.request(method, path, headers=headers, **options)

    def predicted(
        self, answer: Answer, placed: bool = True, who: str = "scientist"
    ) -> dict[str, Any]:
        """Judge and keep an answer as that of the model, which this account asked for."""
        from retrace.service import predictions
        from retrace.service.writer import insert_all

        kind = "recording" if placed else "beats"
        user = self.people[who].id
        model = self.service.models.get(MODEL)
        judged = predictions.judged(self.service, user, answer, model, kind=kind, placed=placed)
        with self.service.database.write() as session:
            insert_all(session, [judged[0]])
        said: dict[str, Any] = orjson.loads(judged[1])
        return said

    def clear(self) -> None:
        """Start without rules, predictions (and what goes with them), mails and audit."""
        from retrace.service.tables import Audit, Mail, Prediction, Rule

        with self.service.database.write() as session:
            for table in (Rule, Prediction, Mail, Audit):
                session.execute(delete(table))
        self.service.rules.read()


@contextmanager
def open_desk(database: str, folder: Path, **changes: Any) -> Iterator[Desk]:
    """A desk on "sqlite" or "postgresql"."""
    given = nullcontext("") if database == "sqlite" else postgres_database()
    with given as url:
        settings = service_settings(folder, models=MODEL, worker=False, database_url=url, **changes)
        with in_process(settings) as client:
            yield Desk(client, accounts_of(client))


@pytest.fixture(scope="module", params=DATABASES)
def shared_desk(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Desk]:
    """A desk on each database, for all tests of a file."""
    with open_desk(request.param, tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture
def desk(shared_desk: Desk) -> Desk:
    """The same, with nothing on it."""
    shared_desk.clear()
    return shared_desk
