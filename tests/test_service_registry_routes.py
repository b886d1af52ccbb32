"""The registry by its routes: who may look, promote, roll back and remove, and what is said."""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from retrace.service import registry, registry_files, tables
from retrace.service.tables_models import Evaluation, Suspension
from tests.desk import DATABASES
from tests.heartbeats import MITBIH
from tests.linear_model import beats_of
from tests.registered import new, publish, train
from tests.serving import accounts_of, in_process, postgres_database, service_settings


class Registry:
    """An application with the published models "a", "b" and "c", and its accounts."""

    def __init__(self, client: Any) -> None:
        self.client, self.people = client, accounts_of(client)
        self.service = client.app.state.service

    def ask(self, method: str, path: str, who: str = "scientist", **options: Any) -> Any:
        """A request in the name of an account."""
        return self.client.request(method, path, headers=self.people[who].headers, **options)


@pytest.fixture(scope="module", params=DATABASES)
def here(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    for name in "abc":
        publish(folder / "repository", name)
    given = nullcontext("") if request.param == "sqlite" else postgres_database()
    with given as url:
        options = {"root": folder / "repository", "models": "", "database_url": url}
        with in_process(service_settings(folder, **options)) as client:
            yield Registry(client)


def test_a_version_is_looked_at_promoted_asked_rolled_back_and_removed(here: Registry) -> None:
    ask = here.ask
    train(here.service, "a", "1", score=0.8)

    beat = {"model": "a", "domain": MITBIH.name, "beats": beats_of(MITBIH)[0].tolist()}

    def version() -> str:
        answer = ask("POST", "/predict/beats", json=beat)
        assert answer.status_code == 200, answer.text
        said: str = answer.json()["model"]["version"]
        return said

    assert version() == "0" * 12
    for who, status in (("staff", 403), ("none", 403)):
        denied = ask("POST", "/registry/a/promote", who, json={"version": 2})
        assert denied.status_code == status
    assert ask("POST", "/registry/a/promote", json={}).status_code == 422
    made = ask("POST", "/registry/a/promote", json={"best": "f1_macro", "expected": 1})
    assert made.status_code == 200 and made.json()["version"] == 2, made.text
    assert made.json()["by"] == here.people["scientist"].id
    assert version() == "1" * 12

    row = ask("GET", "/registry", "staff").json()[0]
    assert (row["model"], row["production"], row["versions"]) == ("a", 2, 2)
    whole = ask("GET", "/registry/a", "staff").json()
    assert [one["state"] for one in whole["versions"]] == ["whole", "whole"]
    assert [one["production"] for one in whole["versions"]] == [True, False]
    assert [one["action"] for one in whole["promotions"]] == ["promote", "publish"]
    assert whole["promotions"][0]["path"] == whole["versions"][0]["path"]
    assert ask("GET", "/registry/a/versions/2").json()["version"] == "1" * 12
    assert ask("GET", "/registry/a/versions/2/params").text == "lr: 0.001\n"
    assert "data/split.csv" in ask("GET", "/registry/a/versions/1/lock").text
    metrics = ask("GET", "/registry/a/metrics").json()
    assert metrics["production"] == 2 and metrics["metrics"]["test"] == {"f1_macro": 0.9}
    assert metrics["evaluation"] is None
    with here.service.database.write() as session:
        now = registry.production(session, "a")
        assert now
        given = {"model": "a", "version_id": now.id, "kind": "performance"}
        session.add(Evaluation(**given, result={"newest": {"persons": 3}}))
    evaluation = ask("GET", "/registry/a/metrics").json()["evaluation"]
    assert evaluation["result"] == {"newest": {"persons": 3}} and evaluation["created"]
    (shown,) = [one for one in ask("GET", "/models").json() if one["name"] == "a"]
    assert (shown["number"], shown["suspended"]) == (2, None)

    back = ask("POST", "/registry/a/rollback")
    assert back.status_code == 200 and back.json()["version"] == 1
    assert version() == "0" * 12
    assert ask("DELETE", "/registry/a/versions/2").status_code == 403
    assert ask("DELETE", "/registry/a/versions/2", "admin").status_code == 204
    assert ask("GET", "/registry/a/versions/2").json()["state"] == "removed"
    for path in ("", "/versions/9", "/metrics"):
        assert ask("GET", f"/registry/unknown{path}").status_code == 404


def test_a_version_that_is_whole_but_cannot_be_opened_is_not_promoted(here: Registry) -> None:
    home, unread = here.service.settings.home, b"of a newer Retrace"
    one = replace(new(home, "b", "1"), file=hashlib.sha256(unread).hexdigest())
    assert one.files
    (one.files / registry_files.FILE).write_bytes(unread)
    version_id = registry.place(home, one)
    with here.service.database.write() as session:
        registry.register(session, version_id, one)

    refused = here.ask("POST", "/registry/b/promote", "admin", json={"version": 2})

    assert refused.status_code == 409 and "no readable ONNX model" in refused.json()["detail"]
    assert str(home) not in refused.text
    assert here.ask("GET", "/registry/b/metrics").json()["production"] == 1


@pytest.mark.parametrize("reason", ["a" * 501, "a\0b"])
def test_a_reason_that_cannot_be_kept_is_refused(here: Registry, reason: str) -> None:
    for path, more in (("promote", {"version": 1}), ("rollback", {})):
        refused = here.ask("POST", f"/registry/c/{path}", json={"reason": reason, **more})
        assert refused.status_code == 422


def test_while_all_are_suspended_the_server_stays_in_service(here: Registry) -> None:
    with here.service.database.write() as session:
        session.add_all(Suspension(model=name, reason="f1_macro is 0.2") for name in "abc")
    here.service.follower.changed()

    asked = here.ask("GET", "/predict/random")
    ready = here.client.get("/ready")
    first = here.ask("GET", "/registry").json()[0]
    with here.service.database.write() as session:
        session.execute(update(Suspension).values(released=tables.now()))
    here.service.follower.changed()

    assert asked.status_code == 503 and "f1_macro is 0.2" in asked.json()["detail"]
    assert ready.status_code == 200 and "suspended: a, b, c" in ready.json()["parts"]["models"]
    assert first["suspended"] == "f1_macro is 0.2"
    assert here.ask("GET", "/predict/random").status_code == 409  # its test part is not here
