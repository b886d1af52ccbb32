"""/docs: every route described, with an example and its errors, on a page without the internet."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrace.service import pages
from tests.serving import in_process, service_settings


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application for all of them: nothing is changed."""
    with in_process(service_settings(tmp_path_factory.mktemp("docs"))) as client:
        yield client


@pytest.fixture(scope="module")
def document(served: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = served.get("/openapi.json").json()
    return found


def _routes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield f"{method.upper()} {path}", route


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    """Whether a media type, its schema, or all the fields of the schema have an example."""
    if "example" in content or "examples" in content:
        return True
    schema = _resolved(document, content.get("schema", {}))
    if any(key in schema for key in ("example", "examples", "const", "default")):
        return True
    if schema.get("type") == "array":
        return _has_example(document, {"schema": schema["items"]})
    if any(_has_example(document, {"schema": one}) for one in schema.get("anyOf", ())):
        return True
    fields = schema.get("properties", {})
    return bool(fields) and all(
        _has_example(document, {"schema": field}) or field.get("format") == "binary"
        for field in fields.values()
    )


def test_every_route_says_what_it_is_for(document: dict[str, Any]) -> None:
    for name, route in _routes(document):
        assert route.get("summary") and route.get("description") and route.get("tags"), name


def test_every_answer_has_an_example(document: dict[str, Any]) -> None:
    missing = [
        f"{name} {status}"
        for name, route in _routes(document)
        for status, answer in route["responses"].items()
        for content in answer.get("content", {}).values()
        if not _has_example(document, content)
    ]
    assert missing == []


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    missing = [
        name
        for name, route in _routes(document)
        for kind, content in route.get("requestBody", {}).get("content", {}).items()
        if kind == "application/json" and not _has_example(document, content)
    ]
    assert missing == []


def test_every_field_of_an_upload_is_described(document: dict[str, Any]) -> None:
    missing = [
        f"{name} {field}"
        for name, route in _routes(document)
        for kind, content in route.get("requestBody", {}).get("content", {}).items()
        if kind == "multipart/form-data"
        for field, schema in _resolved(document, content["schema"])["properties"].items()
        if not schema.get("description")
    ]
    assert missing == []


def test_errors_are_one_sentence(document: dict[str, Any]) -> None:
    for name, route in _routes(document):
        for status, answer in route["responses"].items():
            if status >= "400" and name != "GET /ready":
                (content,) = answer["content"].values()
                assert set(_resolved(document, content["schema"])["properties"]) == {"detail"}, name


def test_routes_that_ask_who_say_401_and_routes_that_take_something_422(
    document: dict[str, Any],
) -> None:
    for name, route in _routes(document):
        codes = set(route["responses"])
        if route.get("security"):
            assert "401" in codes, name
        else:
            assert name.split()[1].startswith(("/auth/", "/health", "/ready", "/metrics")), name
        if route.get("parameters") or "requestBody" in route:
            assert "422" in codes, name


def test_the_page_loads_nothing_from_elsewhere(served: TestClient) -> None:
    page = served.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded and all(path.startswith("/docs/") or path == "data:," for path in loaded)
    for path in filter(lambda path: path.startswith("/"), loaded):
        assert served.get(path).status_code == 200
    assert "://" not in served.get("/docs/docs.js").text + page.text
    assert not re.search(r"<script>|\son\w+=", page.text)  # nothing inline: the policy forbids it


def test_the_policy_lets_nothing_else_in(served: TestClient) -> None:
    policy = served.get("/docs").headers["Content-Security-Policy"]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == "'self'" and rules["connect-src"] == "'self'"
    assert "http" not in policy and "*" not in policy


def test_swagger_ui_comes_with_its_licences(served: TestClient) -> None:
    bundle = gzip.decompress((pages.STATIC / "swagger-ui-bundle.js.gz").read_bytes())

    assert served.get("/docs/swagger-ui-bundle.js").content == bundle
    assert b"swagger-ui-bundle.js.LICENSE.txt" in bundle[:100]
    for name in ("swagger-ui.LICENSE.txt", "swagger-ui.NOTICE.txt"):
        assert (pages.STATIC / name).is_file()


@pytest.mark.parametrize("name", ["settings.py", "..%2fpages.py", "%2e%2e/pages.py", "docs.html"])
def test_nothing_but_its_files_is_served(served: TestClient, name: str) -> None:
    assert served.get(f"/docs/{name}").status_code == 404
