"""Tokens: what is signed here opens the door, and nothing else does."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from retrace.service import tokens
from retrace.service.problems import Problem
from retrace.service.tables import Login, User, new_id
from tests.serving import PASSWORD, accounts_of, in_process, service_settings
from tests.token_attacks import REQUESTS, TOKENS, World, bearer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with in_process(service_settings(tmp_path_factory.mktemp("tokens"))) as client:
        people = accounts_of(client)
        form = {"username": people["staff"].email, "password": PASSWORD}
        pair = client.post("/auth/token", data=form).json()
        access = pair["access_token"]
        body = {"name": "gateway", "days": 1}
        made = client.post("/keys", json=body, headers={"Authorization": f"Bearer {access}"})
        payload = access.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        yield World(client, people, access, pair["refresh_token"], made.json()["key"], claims)


def me(world: World, headers: Sequence[tuple[str, str | bytes]]) -> Any:
    return world.client.get("/users/me", headers=headers)  # type: ignore[arg-type]


def refused(answer: Any) -> bool:
    """The one answer to whatever is wrong."""
    return (answer.status_code, answer.json(), answer.headers["WWW-Authenticate"]) == (
        401,
        {"detail": tokens.REFUSED},
        "Bearer",
    )


@pytest.mark.parametrize("name", TOKENS)
def test_no_other_token_is_taken(world: World, name: str) -> None:
    assert refused(me(world, bearer(TOKENS[name](world))))


@pytest.mark.parametrize("name", REQUESTS)
def test_nor_the_right_one_in_another_place(world: World, name: str) -> None:
    assert refused(me(world, REQUESTS[name](world)))


@pytest.mark.parametrize("name", ["access_token", "token", "api_key", "Authorization"])
def test_nor_one_that_proxies_would_log(world: World, name: str) -> None:
    for secret in (world.access, world.key):
        assert refused(world.client.get("/users/me", params={name: secret}))


def test_what_the_forger_starts_from_is_taken(world: World) -> None:
    """Otherwise the refusals above would show nothing."""
    for headers in (
        bearer(world.access),
        bearer(world.forged()),
        [("authorization", f"bEARER {world.access}")],
        bearer(world.key),
        [("x-api-key", world.key.encode())],
    ):
        assert me(world, headers).json()["id"] == world.people["staff"].id


@pytest.mark.parametrize("other", ["access", "key", "unknown", "cut", "blank", "long"])
def test_no_other_token_is_renewed(world: World, other: str) -> None:
    sent = {
        "access": world.access,
        "key": world.key,
        "unknown": f"{new_id()}.{'A' * 43}",
        "cut": world.refresh[:-1],
        "blank": f" {world.refresh}",
        "long": world.refresh + "A",
    }[other]

    assert refused(world.client.post("/auth/refresh", json={"refresh_token": sent}))
    assert me(world, bearer(world.access)).status_code == 200


def test_a_token_that_was_taken_ends_on_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert me(world, bearer(world.access)).status_code == 200
    late = time.time() + 15 * 60 + tokens.LEEWAY
    monkeypatch.setattr("retrace.service.access.time.time", lambda: late)

    assert refused(me(world, bearer(world.access)))


@pytest.mark.parametrize("ended", ["logged out", "login expired", "switched off", "deleted"])
def test_a_token_ends_with_its_login_and_its_account(world: World, ended: str) -> None:
    service: Any = world.client.app.state.service  # type: ignore[attr-defined]
    email = f"{ended.replace(' ', '.')}@example.org"
    body = {"email": email, "password": PASSWORD}
    user_id = world.client.post("/auth/register", json=body).json()["id"]
    form = {"username": email, "password": PASSWORD}
    pair = world.client.post("/auth/token", data=form).json()
    mine = bearer(pair["access_token"])
    assert me(world, mine).status_code == 200

    admin = world.people["admin"].headers
    if ended == "logged out":
        assert world.client.post("/auth/logout", headers=mine).status_code == 204  # type: ignore[arg-type]
    elif ended == "switched off":
        change = {"active": False}
        world.client.patch(f"/users/{user_id}", json=change, headers=admin).raise_for_status()
    elif ended == "deleted":
        world.client.delete(f"/users/{user_id}", headers=admin).raise_for_status()
    else:
        with service.database.write() as session:
            login = session.query(Login).filter_by(user_id=user_id).one()
            login.expires = session.get(User, user_id).created
        service.gate.forget()

    assert refused(me(world, mine))
    refresh = {"refresh_token": pair["refresh_token"]}
    assert refused(world.client.post("/auth/refresh", json=refresh))


def test_an_internal_token_is_for_one_process_and_one_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = world.client.app.state.service.settings  # type: ignore[attr-defined]
    token = tokens.internal(settings, "retrace-trainer")
    tokens.check_internal(settings, "retrace-trainer", token)

    for audience, text in (
        ("retrace-predictor", token),
        ("retrace-trainer", world.access),
        ("retrace-trainer", world.key),
        ("retrace-trainer", ""),
    ):
        with pytest.raises(Problem) as refusal:
            tokens.check_internal(settings, audience, text)
        assert refusal.value.status == 401
    early = time.time() - 70
    monkeypatch.setattr("retrace.service.tokens.time.time", lambda: early)
    with pytest.raises(Problem):
        tokens.check_internal(
            settings, "retrace-trainer", tokens.internal(settings, "retrace-trainer")
        )
