"""Trainings as jobs: compared, registered, promoted by a rule; and what is left of those that end
early."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.service import (
    compared,
    jobs,
    recordings,
    registry,
    trainings,
    watches,
    worker,
)
from retrace.service.tables import Job, Recording
from retrace.service.tables_models import Version
from retrace.service.training import Asked
from retrace.service.truths import kept_out
from tests.registered import train
from tests.retraining import ID, KEPT, Work, client, files, made, people, root, upload, work
from tests.serving import Person

__all__ = ["client", "people", "root", "work"]  # fixtures


class Compared:
    """Stands for `compared.candidate`: waits until it is told what to do."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.found: dict[str, Any] = {"against": None}

    def __call__(self, *given: object, progress: Callable[[float], None]) -> dict[str, Any]:
        self.begun.set()
        while not self.over.wait(0.01):
            progress(0.5)
        return self.found


class Near:
    """A service whose worker is a thread, with a training that may begin."""

    def __init__(self, client: TestClient, people: dict[str, Person]) -> None:
        self.client, self.people = client, people
        self.service: Any = client.app.state.service  # type: ignore[attr-defined]
        self.folder = self.service.settings.home / "trainings"
        self.job = ""

    def ask(self, **asked: Any) -> None:
        headers = self.people["scientist"].headers
        self.job = self.client.post("/trainings", json=asked, headers=headers).json()["job"]

    def begin(self, stop: threading.Event | None = None) -> threading.Thread:
        each = threading.Thread(target=worker.work_once, args=(self.service, "training", stop))
        each.start()
        return each

    def said(self) -> dict[str, Any]:
        headers = self.people["scientist"].headers
        found: dict[str, Any] = self.client.get(f"/trainings/{self.job}", headers=headers).json()
        return found

    def versions(self, model: str = "default") -> int:
        with self.service.database.read() as session:
            return len(registry.versions(session, model))

    def left(self) -> set[str]:
        """What lies in HOME/trainings and HOME/registry beside what is registered."""
        with self.service.database.read() as session:
            known = set(session.scalars(select(Version.id)))
        registered = {path.name for path in self.folder.parent.glob("registry/*")}
        trained = {path.name for path in self.folder.glob("*")}
        return (registered - known) | (trained - KEPT)


@pytest.fixture
def near(
    client: TestClient, people: dict[str, Person], work: Work, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Near]:
    monkeypatch.setattr(worker, "LOOK", 0.02)
    monkeypatch.setattr(worker, "RENEW", 0.02)
    near = Near(client, people)
    while worker.work_once(near.service, "training"):  # what other tests have asked for
        pass
    work.over.clear()
    work.names.clear()
    yield near


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch) -> Compared:
    comparing = Compared()
    monkeypatch.setattr(compared, "candidate", comparing)
    return comparing


def test_one_that_is_cancelled_while_it_is_compared_leaves_nothing(
    near: Near, work: Work, comparing: Compared
) -> None:
    before = near.versions()
    near.ask()
    work.over.set()
    each = near.begin()
    assert comparing.begun.wait(10)
    said = near.client.delete(f"/jobs/{near.job}", headers=near.people["scientist"].headers)
    each.join(10)

    assert said.status_code == 204
    assert near.said()["state"] == "cancelled"
    assert (near.versions(), near.left()) == (before, set())


def test_one_whose_worker_stops_while_it_is_compared_is_not_trained_again(
    near: Near, comparing: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one whose worker was killed: what it left is there."""
    before = near.versions()
    near.ask()
    monkeypatch.undo()
    monkeypatch.setattr(worker, "LOOK", 0.02)
    monkeypatch.setattr(compared, "candidate", comparing)
    made(near.folder / f"{near.job}.out")
    stop = threading.Event()
    each = near.begin(stop)
    assert comparing.begun.wait(10)
    stop.set()
    each.join(10)
    assert near.said()["state"] == "queued"

    comparing.over.set()
    near.begin().join(10)

    assert (near.said()["state"], near.said()["error"]) == ("done", None)
    assert (near.versions(), near.left()) == (before + 1, set())


@pytest.mark.parametrize("error", [InputError("it diverged"), ValueError("a fault of ours")])
def test_one_that_fails_leaves_nothing(near: Near, work: Work, error: Exception) -> None:
    before = near.versions()
    near.ask()
    work.error = error
    work.over.set()
    for _ in range(jobs.ATTEMPTS):
        near.begin().join(10)
        with near.service.database.write() as session:  # no pause
            session.execute(update(Job).values(lease=None))

    assert near.said()["state"] == "failed"
    assert "ours" not in near.said()["error"]
    assert (near.versions(), near.left()) == (before, set())


def test_a_rule_of_the_staff_promotes_in_the_transaction_that_registers(
    near: Near, work: Work, comparing: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"f1_macro": {"difference": 0.02}}
    rule = {"metric": "f1_macro", "at_least": {"validation": 0.01}}
    given: Any = {"metric": "f1_macro", "newest": 10, "least": 10, "promote": rule}
    monkeypatch.setattr(watches, "current", lambda *_: watches.Settings(**given))
    work.over.set()
    comparing.over.set()
    for name, sides in (("ruled", {"validation": {"scores": scores}}), ("other", {})):
        comparing.found = {"against": None} | sides
        near.ask(model=name)
        near.begin().join(10)

        with near.service.database.read() as session:
            promoted = registry.production(session, name) is not None
        assert promoted == near.said()["result"]["promoted"] == (name == "ruled")
    assert "could not be compared" in near.said()["result"]["rule"]


def test_what_came_into_production_during_the_comparison_is_not_replaced_by_the_rule(
    near: Near, work: Work, comparing: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"metric": "f1_macro", "at_least": {"validation": 0}}
    given: Any = {"metric": "f1_macro", "newest": 10, "least": 10, "promote": rule}
    monkeypatch.setattr(watches, "current", lambda *_: watches.Settings(**given))
    monkeypatch.setattr(watches, "holds", lambda *_: (True, "It holds."))
    work.over.set()
    near.ask(model="overtaken")
    each = near.begin()
    assert comparing.begun.wait(10)
    number = train(near.service, "overtaken", "a")
    with near.service.database.write() as session:
        registry.promote(session, near.service.settings, "overtaken", number, by=None)
    comparing.over.set()
    each.join(10)

    result = near.said()["result"]
    assert (result["version"], result["promoted"]) == (2, False)
    assert "version 1 came into production meanwhile" in result["rule"]
    with near.service.database.read() as session:
        present = registry.production(session, "overtaken")
    assert present is not None and present.number == 1


def test_a_training_is_kept_where_production_has_lost_its_file(near: Near, work: Work) -> None:
    """It may be the remedy."""
    work.over.set()
    number = train(near.service, "lost", "b")
    with near.service.database.write() as session:
        registry.promote(session, near.service.settings, "lost", number, by=None)
        version = registry.version(session, "lost", number)
        (registry.path(near.service.settings, version.id) / "model.onnx").unlink()
    near.ask(model="lost")
    near.begin().join(10)

    assert (near.said()["state"], near.said()["error"]) == ("done", None)
    assert "its file is gone" in near.said()["result"]["comparison"]["newest"]["missing"]
    with near.service.database.write() as session:
        registry.promote(session, near.service.settings, "lost", 2, by=None)


def test_a_version_whose_files_were_swept_meanwhile_is_not_registered(
    near: Near, work: Work, comparing: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = near.versions()
    work.over.set()
    comparing.over.set()
    monkeypatch.setattr(registry, "place", lambda *_: ID)
    near.ask()
    near.begin().join(10)

    assert near.said()["state"] == "failed" and "were swept" in near.said()["error"]
    assert near.versions() == before


def test_what_the_service_began_itself_is_for_scientists_and_admins(near: Near) -> None:
    with near.service.database.write() as session:
        settings = near.service.settings
        job = trainings.submit(session, None, settings, Asked(), "it was below its limit").id

    def seen(name: str) -> list[int]:
        headers = near.people[name].headers
        return [
            near.client.get(f"/{what}/{job}", headers=headers).status_code
            for what in ("trainings", "jobs")
        ]

    assert seen("scientist") == seen("admin") == [200, 200]
    assert seen("staff") == [403, 404]
    scientist = near.people["scientist"].headers
    (first, *_) = near.client.get("/trainings", headers=scientist).json()
    assert (first["id"], first["scheduled"], first["why"]) == (job, True, "it was below its limit")
    assert near.client.delete(f"/jobs/{job}", headers=scientist).status_code == 204


def test_trainings_are_listed_newest_first_to_whom_they_concern(near: Near) -> None:
    near.ask(params={"lr": 1e-3})
    first = near.job
    near.ask(params={"lr": 1e-2})

    def listed(name: str, query: str = "") -> list[str]:
        answer = near.client.get(f"/trainings?{query}", headers=near.people[name].headers)
        return [one["id"] for one in answer.json()] if answer.status_code == 200 else []

    assert listed("scientist")[:2] == listed("admin", "limit=2") == [near.job, first]
    assert listed("scientist", f"before={near.job}")[0] == first
    assert listed("staff") == []
    for job in (first, near.job):
        near.client.delete(f"/jobs/{job}", headers=near.people["scientist"].headers)


def test_too_little_to_learn_from_is_refused_before_anything_is_queued(near: Near) -> None:
    headers = near.people["scientist"].headers
    for data in ("all", "newest"):
        asked = {"recipe": "mitdb_ds1_ds2", "data": data}
        said = near.client.post("/trainings", json=asked, headers=headers)
        assert said.status_code == 422
        assert "recordings of 0 persons to learn from" in said.json()["detail"]
    assert not worker.work_once(near.service, "training")


def test_one_whose_recordings_are_deleted_ends_and_keeps_nothing_of_them(
    near: Near, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "EVERY", 0.0)
    staff, persons = near.people["staff"], [f"Erika Mustermann {n}" for n in range(40)]
    for person in [name for name in persons if not kept_out(name)][:5]:
        upload(near.client, staff, files(tmp_path / "one"), person)
    before = near.versions("mitdb_ds1_ds2")
    near.ask(recipe="mitdb_ds1_ds2", data="all")
    each = near.begin()
    assert work.begun.wait(10)
    assert near.left() == {f"{near.job}.own"}
    recordings.remove(near.service, Recording.person.is_not(None), by=None, why="test")
    each.join(10)

    assert near.said()["state"] == "failed"
    assert "of its recordings were deleted meanwhile" in near.said()["error"]
    assert (near.versions("mitdb_ds1_ds2"), near.left()) == (before, set())
