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
from tests.accounts import pair, quick, register
from tests.serving import service_settings

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
        others = [come(f"10.0.1.{n}", "A@example.org") for n in range(4)]
        assert [answer.status_code for answer in others] == [200] * 3 + [429]
        assert 1 <= int(others[-1].headers["Retry-After"]) <= 60
        six = [come(f"2001:db8::{n}", f"{n}@example.com").status_code for n in range(4)]
        assert six == [401] * 3 + [429]
        assert come("2001:db8:0:1::1", "6@example.com").status_code == 401


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
