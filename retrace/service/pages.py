"""/docs without the internet: Swagger UI from the package, under a strict policy."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response

from retrace.service.problems import WORDS, Problem

STATIC = Path(__file__).with_name("static")
# Swagger UI draws its icons from data: addresses and sets style attributes; all else is ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
WITH_BODY = (400, 408, 413, 415)  # what `body.BodyLimits` and the reading of JSON answer
WITH_ACCOUNT = (503,)  # who asks stands in the database
router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Serve the page, and let the OpenAPI document name the errors that routes have in common."""
    app.include_router(router)
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_errors(plain())
        return plain()

    app.openapi = complete  # type: ignore[method-assign]


def _add_errors(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for route in methods.values():
            codes = WITH_BODY * ("requestBody" in route) + WITH_ACCOUNT * ("security" in route)
            for code in codes:
                said = {
                    "schema": {"$ref": "#/components/schemas/Said"},
                    "example": {"detail": WORDS[code]},
                }
                answer = {"description": WORDS[code], "content": {"application/json": said}}
                route["responses"].setdefault(str(code), answer)
            route["responses"] = dict(sorted(route["responses"].items()))


def _page(name: str) -> Response:
    path = STATIC / name
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    if path.suffix == ".gz":  # browsers unpack it themselves
        headers["Content-Encoding"] = "gzip"
    kind = KINDS[Path(name.removesuffix(".gz")).suffix]
    return Response(path.read_bytes(), media_type=f"{kind}; charset=utf-8", headers=headers)


@router.get("/docs")
def docs() -> Response:
    """The page."""
    return _page("docs.html")


@router.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """What the page loads."""
    for file in (name, f"{name}.gz"):
        if file in _names():
            return _page(file)
    raise Problem(404, "no such file of the documentation")


def _names() -> set[str]:
    return {path.name for path in STATIC.iterdir() if path.suffix in (".css", ".js", ".gz")}
