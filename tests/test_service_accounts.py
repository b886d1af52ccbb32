"""Accounts: made, given a role, deleted."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.service import accounts, emails, passwords
from retrace.service.access import Principal
from retrace.service.tables import ApiKey, Login, Mail, Reset, User
from tests.accounts import actions, at_once, quick, rows, service
from tests.serving import PASSWORD, Person, log_in

__all__ = ["quick", "service"]  # fixtures
pytestmark = pytest.mark.usefixtures("quick")


def test_a_new_account_logs_in_and_sees_itself_alone(client: TestClient, service: Any) -> None:
    body = {"email": "Nurse.One@Example.ORG", "password": PASSWORD}
    made = client.post("/auth/register", json=body)
    mine = log_in(client, "nurse.ONE@example.org")

    assert made.status_code == 201
    assert made.json() == client.get("/users/me", headers=mine).json()
    assert {k: made.json()[k] for k in ("email", "role", "active")} == {
        "email": "nurse.one@example.org",
        "role": None,
        "active": True,
    }
    assert client.get("/users", headers=mine).status_code == 403
    assert actions(service)[-2:] == ["account.register", "login"]
    assert rows(service, User)[0].password.startswith("$argon2id$")


def test_an_address_has_one_account(client: TestClient, service: Any) -> None:
    def register(number: int) -> int:
        email = ("nurse@example.org", "Nurse@example.org")[number % 2]
        body = {"email": email, "password": PASSWORD}
        return client.post("/auth/register", json=body).status_code

    assert sorted(map(str, at_once(register))) == ["201", "409", "409", "409"]
    assert len(rows(service, User)) == 1


@pytest.mark.parametrize(
    "password",
    [
        "eleven sign",
        "l" + "o" * 256 + "ng",
        "nurse@example.org",
        "NURSE@EXAMPLE.ORG",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "123456789012",
        "0987654321098",
        "qwertyuiopasdf",
        "Password2024!!",
        "passwordpassword",
        "ｐａｓｓｗｏｒｄ１２３４",  # the same letters in another width
    ],
)
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(InputError, match="password: ") as refusal:
        passwords.check(password, "nurse@example.org")

    assert password not in str(refusal.value)


@pytest.mark.parametrize("password", ["tropfen im meer", "ein  😀  am Morgen", "x7Kp2mQz9LwB"])
def test_any_other_password_is_taken(password: str) -> None:
    passwords.check(password, "nurse@example.org")

    assert passwords.verified(passwords.hashed(password), password)
    assert not passwords.verified(passwords.hashed(password), password + " ")


@pytest.mark.parametrize(
    "email",
    [
        "nurse",
        "nurse@",
        "a b@example.org",
        "nurse@example.org\n",
        "n@example.org\0",
        "ü@example.org",
        "n@example.org,admin@example.org",
        "n@" + "e" * 250,
        "n@[127.0.0.1]",
        "\ud800@example.org",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InputError, match="email: "):
        emails.normalised(email)


def test_a_role_holds_at_once(client: TestClient, people: dict[str, Person]) -> None:
    """For a token that was issued before: it says who, the database says what they may."""
    one, admin = people["none"], people["admin"].headers
    seen = []
    for role in ("admin", None, "staff"):
        client.patch(f"/users/{one.id}", json={"role": role}, headers=admin).raise_for_status()
        seen.append(client.get("/users", headers=one.headers).status_code)

    assert seen == [200, 403, 403]
    assert client.get("/users/me", headers=one.headers).json()["role"] == "staff"


def test_the_last_admin_stays(client: TestClient, service: Any, people: dict[str, Person]) -> None:
    admin, other = people["admin"], people["none"]
    mine = f"/users/{admin.id}"
    for answer in (
        client.patch(mine, json={"role": "staff"}, headers=admin.headers),
        client.patch(mine, json={"role": None}, headers=admin.headers),
        client.patch(mine, json={"active": False}, headers=admin.headers),
        client.delete(mine, headers=admin.headers),
        client.delete("/users/me", headers=admin.headers),
    ):
        assert answer.status_code == 409

    role = {"role": "admin"}
    client.patch(f"/users/{other.id}", json=role, headers=admin.headers).raise_for_status()
    both = [Principal(one.id, one.email, "admin", None) for one in (admin, other)]
    given = at_once(
        lambda number: accounts.change(
            service, both[number], both[1 - number].user_id, {"role": None}
        ),
        times=2,
    )
    assert given.count(409) == 1  # each took the role from the other, and one of them in vain
    assert [user.role for user in rows(service, User)].count("admin") == 1


def test_who_is_deleted_leaves_the_audit_alone(
    client: TestClient, service: Any, people: dict[str, Person]
) -> None:
    gone = people["staff"]
    client.post("/keys", json={"name": "k"}, headers=gone.headers).raise_for_status()
    client.post("/auth/forgot", json={"email": gone.email}).raise_for_status()

    assert client.delete("/users/me", headers=gone.headers).status_code == 204
    assert client.get("/users/me", headers=gone.headers).status_code == 401
    assert gone.id not in {user.id for user in rows(service, User)}
    assert gone.id not in {
        row.user_id for table in (Login, Reset, ApiKey) for row in rows(service, table)
    }
    assert gone.email not in {mail.to for mail in rows(service, Mail)}
    assert "account.delete" in actions(service)
    again = client.post("/auth/register", json={"email": gone.email, "password": PASSWORD})
    assert again.json()["id"] != gone.id
