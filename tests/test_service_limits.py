"""How often one may ask."""

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.service import ratelimit
from retrace.service.app import create_app
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import Mail, Reset
from tests.accounts import OTHER, pair, quick, register, rows
from tests.heartbeats import MITBIH
from tests.linear_model import beats_of
from tests.serving import PASSWORD, accounts_of, in_process, log_in, service_settings
from tests.test_service_pool import publish

__all__ = ["quick"]  # a fixture
pytestmark = pytest.mark.usefixtures("quick")


def test_logins_are_limited_by_address_and_by_account(tmp_path: Path) -> None:
    app = create_app(service_settings(tmp_path, login_limit="3/minute"))

    def come(address: str, email: str) -> Any:
        return pair(TestClient(app, client=(address, 1)), email)

    with TestClient(app) as client:
        register(client)
        assert [come("10.0.0.1", f"{n}@example.org").status_code for n in range(4)] == [401] * 3 + [
            429
        ]
        others = [come(f"10.0.1.{n}", "A@example.org") for n in range(31)]
        assert [answer.status_code for answer in others] == [200] * 30 + [429]
        assert 1 <= int(others[-1].headers["Retry-After"]) <= 60
        six = [come(f"2001:db8::{n}", f"{n}@example.com").status_code for n in range(4)]
        assert six == [401] * 3 + [429]
        assert come("2001:db8:0:1::1", "6@example.com").status_code == 401


def test_a_stranger_at_one_address_keeps_nobody_out(tmp_path: Path) -> None:
    app = create_app(service_settings(tmp_path, login_limit="3/minute"))
    stranger = TestClient(app, client=("10.0.0.1", 1))

    with TestClient(app, client=("10.0.0.2", 1)) as owner:
        register(owner)
        for _ in range(20):
            pair(stranger, "a@example.org", OTHER)
            stranger.post("/auth/forgot", json={"email": "a@example.org"})
        mine = log_in(owner, "a@example.org")
        body = {"password": PASSWORD, "new_password": OTHER}
        assert owner.patch("/users/me", json=body, headers=mine).status_code == 204
        assert pair(owner, "a@example.org", OTHER).status_code == 200


def test_who_is_asked_to_reset_too_often_gets_no_more_mails_and_nobody_is_told(
    tmp_path: Path,
) -> None:
    app = create_app(service_settings(tmp_path, login_limit="3/minute"))

    with TestClient(app) as client:
        register(client)
        for email in ("a@example.org", "nobody@example.org"):
            for number in range(5):
                each = TestClient(app, client=(f"10.0.0.{number}", 1))
                assert each.post("/auth/forgot", json={"email": email}).status_code == 202
        assert len(rows(app.state.service, Mail)) == 3
        assert len(rows(app.state.service, Reset)) == 1  # the last mail still helps its owner


def test_a_name_of_the_host_hides_no_attempt(tmp_path: Path) -> None:
    app = create_app(service_settings(tmp_path, login_limit="3/minute"))

    with TestClient(app) as client:
        codes = []
        for number in range(4):
            form = {"username": "a@example.org", "password": OTHER}
            host = {"Host": f"a/{number}?"}
            codes.append(client.post("/auth/token", data=form, headers=host).status_code)
    assert codes == [401] * 3 + [429]


def default(name: str) -> Any:
    return Settings.model_fields[name].default


def test_an_account_predicts_180_times_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.service.ratelimit.time.monotonic", lambda: 0.0)
    publish(tmp_path, "tiny")
    settings = service_settings(
        tmp_path, root=tmp_path, models="tiny", predict_limit=default("predict_limit")
    )
    body = {"beats": beats_of(MITBIH)[:1, 0].tolist()}

    with in_process(settings) as client:
        people = accounts_of(client)

        def ask(name: str) -> Any:
            return client.post("/predict/beats", json=body, headers=people[name].headers)

        assert {ask("staff").status_code for _ in range(180)} == {200}
        refused = ask("staff")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
        assert ask("scientist").status_code == 200


def test_an_account_asks_for_5_trainings_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.service.ratelimit.time.monotonic", lambda: 0.0)
    monkeypatch.setattr("retrace.service.trainings.check", lambda *asked: None)
    settings = service_settings(tmp_path, train_limit=default("train_limit"))

    with in_process(settings) as client:
        who = accounts_of(client)["scientist"].headers
        answers = [client.post("/trainings", json={}, headers=who) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[-1].headers["Retry-After"] == "60"


def test_a_limit_counts_each_account_and_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ratelimit.Limits(service_settings(tmp_path, predict_limit="2/minute"))

    def count(who: str) -> int:
        try:
            limits.count("predict", who)
        except Problem as problem:
            return problem.status
        return 200

    assert [count(who) for who in ("a", "a", "a", "b", "a")] == [200, 200, 429, 200, 429]
    later = time.monotonic() + 60
    monkeypatch.setattr("retrace.service.ratelimit.time.monotonic", lambda: later)
    assert count("a") == 200


def test_many_addresses_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose time is over are forgotten first; what is still counted goes on."""
    monkeypatch.setattr(ratelimit, "LARGEST", 100)
    limits = ratelimit.Limits(service_settings(tmp_path, login_limit="2/minute"))
    for number in range(1000):
        limits.count("login", str(number))
    limits.count("login", "999")

    assert len(limits._windows["login"]._counts) == 100
    with pytest.raises(Problem):
        limits.count("login", "999")


@pytest.mark.parametrize(
    "limit", ["", "many", "0x10/minute", "180/fortnight", "-1/minute", "0/day", "１/day"]
)
def test_a_limit_that_is_none_is_refused_at_the_start(tmp_path: Path, limit: str) -> None:
    with pytest.raises(InputError, match="RETRACE_TRAIN_LIMIT"):
        ratelimit.Limits(service_settings(tmp_path, train_limit=limit))
