"""Whatever is sent, as the OpenAPI document allows or against it: no route fails at it, and every
answer is one that the document names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving import PASSWORD, Server, log_in, running

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
EXAMPLES = 8  # of each route, allowed and not allowed
LAST = ("/auth/logout", "/users/me")  # they end what the others need


@dataclass(frozen=True)
class Served:
    server: Server
    document: dict[str, Any]
    headers: list[dict[str, str]]


@pytest.fixture(params=GenerationMode, ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest, database_url: str) -> GenerationMode:
    """What is sent: as the document allows, or against it."""
    chosen: GenerationMode = request.param
    if database_url and chosen is GenerationMode.POSITIVE:
        pytest.skip("what is allowed is asked of SQLite; what breaks PostgreSQL is not")
    return chosen


@pytest.fixture
def served(tmp_path: Path, database_url: str, mode: GenerationMode) -> Iterator[Served]:
    """A real server, its document, and a login and a key of each role."""
    with (
        running(tmp_path / "home", RETRACE_WORKER="false", DATABASE_URL=database_url) as server,
        httpx2.Client(base_url=server.url) as client,
    ):
        logins = [log_in(client, server.admin)]
        for role in ("staff", "data_scientist"):
            account = {"email": f"{role}@example.org", "password": PASSWORD}
            made = client.post("/auth/register", json=account).json()
            path = f"/users/{made['id']}"
            client.patch(path, json={"role": role}, headers=logins[0]).raise_for_status()
            logins.append(log_in(client, account["email"]))
        keys = [
            client.post("/keys", json={"name": "schema"}, headers=login).json()["key"]
            for login in logins
        ]
        document = client.get("/openapi.json").json()
        yield Served(server, document, logins + [{"X-API-Key": key} for key in keys])


def test_no_route_fails(served: Served, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(served.document)
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    failures = []
    for operation in sorted(operations, key=lambda one: one.path in LAST):
        strategy = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, who=st.sampled_from(served.headers))
        def check(case: Any, who: dict[str, str]) -> None:
            answer = case.call(base_url=served.server.url, headers=who)
            case.validate_response(answer, checks=CHECKS)

        try:
            check()
        except Unsatisfiable:  # it takes nothing that could be wrong
            pass
        except BaseException as error:  # of schemathesis: a group, where there are several
            failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures)
