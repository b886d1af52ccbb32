"""/health, /ready and /metrics: what a supervisor, a balancer and Prometheus are told."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import null
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from retrace.service import health
from retrace.service.tables import Job, Mail, User, now
from tests.serving import Person, in_process, service_settings

LATER = now() + timedelta(days=1)  # a mail due now would be sent beside the test


def _service(client: TestClient) -> Any:
    return client.app.state.service  # type: ignore[attr-defined]


def _counted(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """The samples of this name by the values of their labels, whose names are sorted."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_service_that_lives_says_so_and_nothing_else(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "alive"}


def test_a_service_that_can_work_is_ready(client: TestClient) -> None:
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert set(answer.json()["parts"].values()) == {"ok"}


def _no_database(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(_service(client).database, "read", away)


def _full_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))


def _mail_server_down(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    early = now() - timedelta(hours=1)
    with _service(client).database.write() as session:
        session.add(
            Mail(to="a@example.org", subject="s", body="b", created=early, due=LATER, attempts=9)
        )


def _no_worker(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with _service(client).database.write() as session:
        session.add(user := User(email="a@example.org", password="none"))
        session.flush()
        early = now() - timedelta(hours=1)
        session.add(Job(user_id=user.id, kind="training", request={}, created=early))


@pytest.mark.parametrize(
    ("fault", "part", "said"),
    [
        (_no_database, "database", "does not answer"),
        (_full_disk, "disk", "1 MB are free"),
        (_mail_server_down, "mail", "cannot be sent"),
        (_no_worker, "jobs", "no worker takes them"),
    ],
)
def test_a_fault_is_said_of_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, part: str, said: str
) -> None:
    with in_process(service_settings(tmp_path)) as client:
        fault(client, monkeypatch)
        answer = client.get("/ready")

        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert answer.json()["ready"] is False
        assert said in answer.json()["parts"][part]
        assert client.get("/health").status_code == 200
        monkeypatch.undo()


def test_without_models_it_is_not_ready(tmp_path: Path) -> None:
    with in_process(service_settings(tmp_path, root=tmp_path, models="")) as client:
        assert "dvc pull" in client.get("/ready").json()["parts"]["models"]


def test_without_its_predictor_it_is_not_ready(tmp_path: Path) -> None:
    settings = service_settings(tmp_path, predictor_url="http://127.0.0.1:1")
    with in_process(settings) as client:
        assert "not ready (ConnectError)" in client.get("/ready").json()["parts"]["models"]


def test_a_trainer_that_is_away_is_said_but_stops_nothing(tmp_path: Path) -> None:
    settings = service_settings(tmp_path, trainer_url="http://127.0.0.1:1")
    with in_process(settings) as client:
        answer = client.get("/ready")

        assert answer.status_code == 200
        assert "ok: predictions go on, but" in answer.json()["parts"]["trainer"]


def test_a_mail_that_waits_for_its_server_is_said_at_once(client: TestClient) -> None:
    with _service(client).database.write() as session:
        session.add(
            Mail(to="a@example.org", subject="s", body="b", due=LATER, error="refused", attempts=1)
        )
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.json()["parts"]["mail"].startswith("ok: 1 wait for a mail server")


def test_a_mail_that_was_given_up_is_said_but_stops_nothing(client: TestClient) -> None:
    with _service(client).database.write() as session:
        session.add(Mail(to="a@example.org", subject="s", body="", due=null(), error="550"))
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.json()["parts"]["mail"].startswith("ok: 1 could not be sent and were given up")


@pytest.mark.parametrize("path", ["/ready", "/metrics"])
def test_many_who_ask_at_once_are_told_what_one_look_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    looks = []

    def slowly(name: str) -> Any:
        real = getattr(health, name)

        def look(service: Any) -> Any:
            looks.append(name)
            time.sleep(0.2)
            return real(service)

        return look

    for name in ("states", "waiting"):
        monkeypatch.setattr(health, name, slowly(name))
    monkeypatch.setattr(health, "KEPT", 60.0)
    with in_process(service_settings(tmp_path)) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get(path), range(16)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(looks) == 1
        monkeypatch.setattr(health, "KEPT", 0.0)
        client.get(path)
        assert len(looks) == 2


def test_requests_are_counted_by_the_template_of_their_route(
    client: TestClient, people: dict[str, Person]
) -> None:
    for _ in range(3):
        client.get(f"/users/{people['staff'].id}", headers=people["admin"].headers)
    client.get("/jobs/secret-of-a-path")
    client.request("BREW", "/health")
    client.get("/no/such/place?token=secret")

    counted = _counted(client, "retrace_requests_total")
    assert counted["GET", "/users/{id}", "200"] == 3
    assert counted["GET", "-", "404"] == 1
    assert not [labels for labels in counted if "secret" in str(labels) or "BREW" in labels]
    times = _counted(client, "retrace_request_seconds_count")
    assert times["GET", "/users/{id}"] == 3


def test_jobs_and_mails_are_counted(client: TestClient, people: dict[str, Person]) -> None:
    with _service(client).database.write() as session:
        for state in ("queued", "queued", "done"):
            session.add(Job(user_id=people["staff"].id, kind="training", state=state, request={}))
        later = now() + timedelta(hours=1)
        session.add(Mail(to="a@example.org", subject="s", body="b", due=later))

    assert _counted(client, "retrace_jobs") == {("queued",): 2, ("done",): 1}
    assert _counted(client, "retrace_mails_waiting") == {(): 1}


def test_an_answer_is_counted_by_model_and_class(client: TestClient) -> None:
    metrics = _service(client).metrics

    metrics.predicted("one", {"N": 3, "V": 1, "S": 0}, flagged=True)
    metrics.predicted("one", {"N": 1}, flagged=None)

    assert _counted(client, "retrace_predictions_total") == {("N", "one"): 4, ("V", "one"): 1}
    assert _counted(client, "retrace_flagged_total") == {("one",): 1}


@pytest.mark.parametrize("path", ["/health", "/users/me", "/no/such/place", "/openapi.json"])
def test_no_answer_is_kept_framed_or_guessed_at(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers
