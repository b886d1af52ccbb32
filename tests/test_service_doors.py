"""Every door of the service: who it lets in, route by route, with a request that is well-formed."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving import PASSWORD, Person, accounts_of, in_process, service_settings

ID = "0" * 32  # of nothing that is there
FILE: Any = {"files": {"files": ("a.csv", b"MLII\n0\n")}, "data": {"fs": "360"}}
SEGMENTS: Any = {"files": {"files": ("a.npy", b"x")}, "data": {"domain": "{}"}}
WATCH = {"metric": "f1_macro", "newest": 20, "least": 500}
LEADS = {"fs": 360, "leads": {"MLII": [0.1, 0.2]}}

PUBLIC = {
    "POST /auth/register", "POST /auth/token", "POST /auth/refresh", "POST /auth/forgot",
    "POST /auth/reset", "GET /health", "GET /ready", "GET /metrics",
}  # fmt: skip

ALL = ("none", "staff", "scientist", "admin")
MEMBERS = ("staff", "scientist", "admin")
# Of each other route: whom it lets in, and a request. An account without a role is "none".
DOORS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "POST /auth/logout": (ALL, {}),
    "GET /users/me": (ALL, {}),
    "PATCH /users/me": (ALL, {"json": {"password": PASSWORD, "new_password": "too short"}}),
    "DELETE /users/me": (ALL, {}),
    "GET /keys": (ALL, {}),
    "POST /keys": (ALL, {"json": {"name": "gateway"}}),
    "DELETE /keys/{id}": (ALL, {}),
    "GET /users": (("admin",), {}),
    "GET /users/{id}": (("admin",), {}),
    "PATCH /users/{id}": (("admin",), {"json": {"role": "staff"}}),
    "DELETE /users/{id}": (("admin",), {}),
    "GET /audit": (("admin",), {}),
    "DELETE /persons/{person}": (("admin",), {}),
    "GET /models": (MEMBERS, {}),
    "GET /models/{name}": (MEMBERS, {}),
    "POST /predict/beats": (MEMBERS, {"json": {"beats": [[0.1, 0.2]]}}),
    "POST /predict/segments": (MEMBERS, SEGMENTS),
    "POST /predict/samples": (MEMBERS, {"json": LEADS}),
    "POST /predict/recordings/{id}": (MEMBERS, {"json": {}}),
    "POST /predict/recording": (MEMBERS, FILE),
    "GET /predict/random": (MEMBERS, {}),
    "GET /predictions": (MEMBERS, {}),
    "GET /predictions/{id}": (MEMBERS, {}),
    "DELETE /predictions/{id}": (MEMBERS, {}),
    "POST /recordings": (MEMBERS, FILE),
    "GET /recordings": (MEMBERS, {}),
    "GET /recordings/{recording_id}": (MEMBERS, {}),
    "DELETE /recordings/{recording_id}": (MEMBERS, {}),
    "GET /jobs": (MEMBERS, {}),
    "GET /jobs/{id}": (MEMBERS, {}),
    "GET /jobs/{id}/result": (MEMBERS, {}),
    "DELETE /jobs/{id}": (MEMBERS, {}),
    "GET /rules": (MEMBERS, {}),
    "PUT /rules/uncertain": (("staff",), {"json": {"probability": 0.6}}),
    "DELETE /rules/uncertain": (("staff",), {}),
    "PUT /rules/{class}": (("staff",), {"json": {"probability": 0.5}}),
    "DELETE /rules/{class}": (("staff",), {}),
    "GET /alerts": (("staff",), {}),
    "POST /alerts/{id}/seen": (("staff",), {}),
    "POST /predictions/{id}/feedback": (("staff",), {"json": {"label": "V"}}),
    "GET /feedback": (("staff", "scientist"), {}),
    "POST /recordings/labelled": (("staff", "scientist"), FILE),
    "POST /trainings": (("scientist", "admin"), {"json": {"recipe": "nothing_like_it"}}),
    "GET /trainings": (("scientist", "admin"), {}),
    "GET /trainings/{id}": (("scientist", "admin"), {}),
    "GET /registry": (MEMBERS, {}),
    "GET /registry/{model}": (MEMBERS, {}),
    "GET /registry/{model}/metrics": (MEMBERS, {}),
    "GET /registry/{model}/versions/{number}": (MEMBERS, {}),
    "GET /registry/{model}/versions/{number}/params": (MEMBERS, {}),
    "GET /registry/{model}/versions/{number}/lock": (MEMBERS, {}),
    "POST /registry/{model}/promote": (("scientist", "admin"), {"json": {"version": 9}}),
    "POST /registry/{model}/rollback": (("scientist", "admin"), {}),
    "DELETE /registry/{model}/versions/{number}": (("admin",), {}),
    "GET /monitoring/{model}": (MEMBERS, {}),
    "GET /monitoring/{model}/watch": (MEMBERS, {}),
    "PUT /monitoring/{model}/watch": (("staff",), {"json": WATCH}),
    "DELETE /monitoring/{model}/watch": (("staff",), {}),
    "GET /monitoring/{model}/evaluations": (MEMBERS, {}),
    "GET /monitoring/{model}/subgroups": (MEMBERS, {}),
    "GET /monitoring/{model}/suspensions": (MEMBERS, {}),
    "POST /monitoring/{model}/evaluate": (MEMBERS, {"json": {"newest": 1}}),
    "POST /monitoring/{model}/drift": (MEMBERS, {"json": {"newest": 1}}),
    "POST /monitoring/{model}/reference": (("staff",), {"json": {"newest": 9}}),
    "DELETE /monitoring/{model}/reference": (("staff",), {}),
    "POST /monitoring/{model}/suspend": (("staff", "admin"), {"json": {"reason": "test"}}),
    "POST /monitoring/{model}/release": (("staff", "admin"), {"json": {"reason": "test"}}),
    "GET /logs": (("admin",), {}),
}
ENDS = {"POST /auth/logout", "DELETE /users/me"}  # whoever goes through is not there any more


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[TestClient, dict[str, Person]]]:
    with in_process(service_settings(tmp_path_factory.mktemp("doors"))) as client:
        yield client, accounts_of(client)


def test_each_route_of_the_document_is_a_door_or_public(
    served: tuple[TestClient, dict[str, Person]],
) -> None:
    client, _ = served
    document = client.get("/openapi.json").json()
    routes = {
        f"{method.upper()} {path}": route
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    }

    assert routes.keys() == DOORS.keys() | PUBLIC
    assert {name for name, route in routes.items() if "security" not in route} == PUBLIC


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lets_in_whom_it_should(
    served: tuple[TestClient, dict[str, Person]], door: str
) -> None:
    client, people = served
    method, path = door.split()
    places = {"id": ID, "recording_id": ID, "person": "p", "name": "x", "class": "V"}
    path = path.format_map(places | {"model": "nothing_like_it", "number": 1})
    allowed, given = DOORS[door]

    for headers in ({}, {"Authorization": "Bearer x"}, {"X-API-Key": "rk_x"}):
        answer = client.request(method, path, headers=headers, **given)
        assert (answer.status_code, list(answer.json())) == (401, ["detail"])
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for name, person in people.items():
        if name in allowed and door in ENDS:
            continue
        answer = client.request(method, path, headers=person.headers, **given)
        refused = answer.status_code == 403 and "this needs the role" in answer.json()["detail"]
        assert refused == (name not in allowed), (name, answer.status_code, answer.text)
        assert answer.status_code not in (401, 500)
