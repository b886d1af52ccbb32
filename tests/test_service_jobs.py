"""Jobs: claimed by one worker at a time, resumed when it dies, done once."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.service import jobs, worker
from retrace.service.access import Principal
from retrace.service.database import Database
from retrace.service.jobs import Cancelled
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Audit, Job, Prediction, User, now
from tests.serving import Person, service_settings

WHO = Principal("a" * 32, "someone@example.org", "staff", None)
Progress = Callable[[float], None]


@pytest.fixture
def database(tmp_path: Path, database_url: str) -> Iterator[Database]:
    database = Database(service_settings(tmp_path, database_url=database_url).database)
    database.prepare()
    with database.write() as session:
        session.add(User(id=WHO.user_id, email=WHO.email, password="", role="staff"))
    yield database
    database.close()


@pytest.fixture
def service(database: Database) -> Service:
    """As much of a service as the handlers of these tests need."""
    return cast(Service, SimpleNamespace(database=database))


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Callable[[worker.Handler], None]:
    """Let jobs of the kind "test" be done by a function of the test."""
    monkeypatch.setattr(worker, "LOOK", 0.02)
    monkeypatch.setattr(worker, "RENEW", 0.02)
    monkeypatch.setattr(worker, "AWAY", 0.02)
    return lambda handler: monkeypatch.setitem(worker.HANDLERS, "test", handler)


def queue(database: Database, **request: Any) -> str:
    with database.write() as session:
        return jobs.submit(session, WHO, "test", request).id


def row(database: Database, id: str) -> Job:
    with database.read() as session:
        return session.get_one(Job, id)


def pass_time(database: Database) -> None:
    """Let every lease and pause end."""
    with database.write() as session:
        session.execute(update(Job).values(lease=now() - timedelta(seconds=1)))


def stored(database: Database) -> int:
    """How many results the handlers of these tests have stored (as lines of the audit log)."""
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Audit)) or 0


def store(session: Session) -> dict[str, Any]:
    session.add(Audit(action="result", detail={}))
    return {"stored": True}


def test_many_workers_share_the_queue_and_take_each_job_once(database: Database) -> None:
    queued = [queue(database) for _ in range(24)]

    def drain(name: str) -> list[str]:
        taken = []
        while job := jobs.claim(database, name, "test"):
            taken.append(job.id)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(drain, [f"worker {number}" for number in range(6)]))

    assert sorted(id for ids in taken for id in ids) == sorted(queued)


def test_the_oldest_job_of_the_kind_comes_first(database: Database) -> None:
    first, _ = queue(database), queue(database)

    assert jobs.claim(database, "a", "training") is None
    job = jobs.claim(database, "a", "test")

    assert job and job.id == first


def test_a_result_is_stored_with_the_end_of_its_job(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id = queue(service.database, number=3)
    asked = []

    def handler(service: Service, job: Job, progress: Progress) -> jobs.Result:
        asked.append(job.request)
        return store

    handle(handler)
    assert worker.work_once(service, "test")
    assert not worker.work_once(service, "test")

    job = row(service.database, id)
    assert (job.state, job.result, job.progress) == ("done", {"stored": True}, 1.0)
    assert job.finished and job.lease is None
    assert asked == [{"number": 3}]
    assert stored(service.database) == 1


def test_a_worker_that_lost_its_job_stores_nothing(database: Database) -> None:
    queue(database)
    slow = jobs.claim(database, "slow", "test")
    pass_time(database)
    quick = jobs.claim(database, "quick", "test")
    assert slow and quick and slow.id == quick.id

    writes = (
        partial(jobs.renew, database, slow, 0.5),
        partial(jobs.finish, database, slow, store),
        partial(jobs.fail, database, slow, "no"),
        partial(jobs.give_back, database, slow, "failed"),
    )
    for write in writes:
        with pytest.raises(Cancelled):
            write()
    jobs.finish(database, quick, store)

    assert row(database, quick.id).state == "done"
    assert stored(database) == 1
    with pytest.raises(Cancelled):
        jobs.finish(database, quick, store)


def test_a_job_whose_workers_die_fails_after_three_attempts(database: Database) -> None:
    id, other = queue(database), queue(database)
    for attempt in (1, 2, 3):
        job = jobs.claim(database, f"worker {attempt}", "test")
        assert job and (job.id, job.attempts) == (id, attempt)
        pass_time(database)

    after = jobs.claim(database, "last", "test")

    assert after and after.id == other
    assert row(database, id).state == "failed"
    assert row(database, id).error == "tried 3 times, and the worker died each time"


def test_an_input_that_cannot_be_used_fails_at_once_with_its_sentence(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    def input_error(service: Service, job: Job, progress: Progress) -> jobs.Result:
        raise InputError("record 7: no lead: give one")

    def not_there(service: Service, job: Job, progress: Progress) -> jobs.Result:
        raise Problem(404, "model 'x': not served")

    for handler, why in (
        (input_error, "record 7: no lead: give one"),
        (not_there, "model 'x': not served"),
    ):
        id = queue(service.database)
        handle(handler)
        worker.work_once(service, "test")

        job = row(service.database, id)
        assert (job.state, job.error, job.attempts) == ("failed", why, 1)


def test_a_job_waits_for_a_predictor_that_is_away_and_not_for_ever(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    def away(service: Service, job: Job, progress: Progress) -> jobs.Result:
        raise Problem(503, "the predictor does not answer at present")

    id = queue(service.database)
    handle(away)
    for _ in range(5):
        assert worker.work_once(service, "test")
        pass_time(service.database)
    job = row(service.database, id)
    assert (job.state, job.attempts) == ("queued", 0)

    with service.database.write() as session:
        found = session.get(Job, id)
        assert found
        found.created -= worker.PATIENCE
    for _ in range(3):
        assert worker.work_once(service, "test")
        pass_time(service.database)
    job = row(service.database, id)
    assert (job.state, job.error) == ("failed", "the predictor does not answer at present")


def test_a_fault_of_the_service_is_tried_again_and_its_words_are_kept_back(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id = queue(service.database)

    def handler(service: Service, job: Job, progress: Progress) -> jobs.Result:
        raise ZeroDivisionError("secret 123")

    handle(handler)
    for _ in range(3):
        assert row(service.database, id).state == "queued"
        assert worker.work_once(service, "test")
        assert not worker.work_once(service, "test"), "it waits a while before it is tried again"
        pass_time(service.database)

    job = row(service.database, id)
    assert job.state == "failed"
    assert job.error and "failed 3 times" in job.error and "secret" not in job.error


def test_the_lease_is_renewed_with_the_progress_while_the_job_runs(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id = queue(service.database)

    def handler(service: Service, job: Job, progress: Progress) -> jobs.Result:
        progress(0.4)
        until(lambda: row(service.database, id).progress == 0.4)
        assert job.lease
        until(lambda: (row(service.database, id).lease or now()) > job.lease)  # type: ignore[operator]
        return {}

    handle(handler)
    worker.work_once(service, "test")

    assert row(service.database, id).state == "done"


def test_a_job_that_is_cancelled_while_it_runs_stops_and_leaves_nothing(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id = queue(service.database)

    def handler(service: Service, job: Job, progress: Progress) -> jobs.Result:
        with service.database.write() as session:
            jobs.cancel(session.get_one(Job, id))
        for _ in range(1000):
            progress(0.1)
            time.sleep(0.01)
        return store

    handle(handler)
    worker.work_once(service, "test")

    assert row(service.database, id).state == "cancelled"
    assert stored(service.database) == 0


def test_a_worker_that_is_told_to_stop_gives_its_job_back_untouched(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id, stop = queue(service.database), threading.Event()

    def handler(service: Service, job: Job, progress: Progress) -> jobs.Result:
        stop.set()
        for _ in range(1000):
            progress(0.1)
            time.sleep(0.01)
        return store

    handle(handler)
    worker.work_once(service, "test", stop)

    job = row(service.database, id)
    assert (job.state, job.attempts, job.worker) == ("queued", 0, None)
    again = jobs.claim(service.database, "next", "test")
    assert again and again.id == id


def test_a_database_that_is_away_at_the_end_of_a_job_is_waited_for(
    service: Service, handle: Callable[[worker.Handler], None]
) -> None:
    id, times = queue(service.database), []

    def keep(session: Session) -> dict[str, Any]:
        found = store(session)
        session.flush()
        times.append(1)
        if len(times) < 4:
            raise OperationalError("insert", {}, Exception("gone"))
        return found

    handle(lambda service, job, progress: keep)
    worker.work_once(service, "test")

    job = row(service.database, id)
    assert (job.state, job.attempts, stored(service.database)) == ("done", 1, 1)


def test_an_account_has_a_bounded_number_of_open_jobs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST", 2)
    first, _ = queue(database), queue(database)
    with pytest.raises(Problem) as refused:
        queue(database)
    assert refused.value.status == 429

    with database.write() as session:
        jobs.cancel(session.get_one(Job, first))
    queue(database)


def put(client: TestClient, person: Person, **values: Any) -> str:
    """A job of this account, as it might stand in the table."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    with service.database.write() as session:
        job = Job(**{"user_id": person.id, "kind": "recording", "request": {}} | values)
        session.add(job)
        session.flush()
        return job.id


def test_a_job_is_seen_by_its_owner_and_by_staff_if_it_is_of_a_recording(
    client: TestClient, people: dict[str, Person]
) -> None:
    scientist, staff, admin = (people[name] for name in ("scientist", "staff", "admin"))
    recording = put(client, scientist, progress=0.25, state="running")
    training = put(client, scientist, kind="training")

    def seen(person: Person) -> list[str]:
        return [job["id"] for job in client.get("/jobs", headers=person.headers).json()]

    assert (seen(scientist), seen(staff)) == ([training, recording], [recording])
    assert seen(admin) == [training]
    shown = client.get(f"/jobs/{recording}", headers=staff.headers).json()
    assert (shown["state"], shown["progress"], shown["error"]) == ("running", 0.25, None)
    for path in (f"/jobs/{training}", f"/jobs/{training}/result"):
        assert client.get(path, headers=staff.headers).status_code == 404
        assert client.get(path).status_code == 401
        assert client.get(path, headers=people["none"].headers).status_code == 403


def test_an_admin_ends_the_training_of_another_for_one_runs_at_a_time(
    client: TestClient, people: dict[str, Person]
) -> None:
    owner, admin = people["scientist"], people["admin"].headers
    training, recording = put(client, owner, kind="training"), put(client, owner)

    assert client.delete(f"/jobs/{training}", headers=admin).status_code == 204
    assert client.delete(f"/jobs/{recording}", headers=admin).status_code == 404


def test_only_the_owner_cancels_a_job_and_only_while_it_is_open(
    client: TestClient, people: dict[str, Person]
) -> None:
    owner, staff = people["scientist"].headers, people["staff"].headers
    id = put(client, people["scientist"])

    assert client.delete(f"/jobs/{id}", headers=staff).status_code == 403
    assert client.delete(f"/jobs/{id}", headers=owner).status_code == 204
    assert client.get(f"/jobs/{id}", headers=owner).json()["state"] == "cancelled"
    assert client.delete(f"/jobs/{id}", headers=owner).status_code == 409
    assert client.get(f"/jobs/{id}/result", headers=owner).status_code == 410


def test_a_result_is_told_once_it_is_there_and_else_why_it_is_not(
    client: TestClient, people: dict[str, Person]
) -> None:
    owner = people["scientist"]
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    with service.database.write() as session:
        prediction = Prediction(
            user_id=owner.id,
            kind="recording",
            model="m",
            version="v",
            segments=0,
            answer=b'{"id":"7"}',
        )
        session.add(prediction)
        session.flush()
        known = {"prediction": prediction.id}

    for values, status, said in (
        ({"state": "queued"}, 409, "no result yet"),
        ({"state": "failed", "error": "r: no lead: give one"}, 422, "r: no lead: give one"),
        ({"state": "done", "result": known}, 200, '{"id":"7"}'),
        ({"state": "done", "result": {"prediction": "0" * 32}}, 410, "deleted"),
        ({"state": "done", "kind": "training", "result": {"f1": 0.5}}, 200, '{"f1": 0.5}'),
    ):
        id = put(client, owner, **values)
        answer = client.get(f"/jobs/{id}/result", headers=owner.headers)
        assert answer.status_code == status and said in answer.text, answer.text


def until(true: Callable[[], bool]) -> None:
    """Return once it holds; a minute is for machines that are very busy."""
    for _ in range(3000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")
