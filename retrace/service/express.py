"""A short way to the route that is asked thousands of times a second."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Express:
    """ASGI middleware that brings the requests (POST) of one route to `endpoint` at once.

    FastAPI takes longer to find a route, its dependencies and its arguments than a beat takes to be
    read, answered and written. Its own route stays, documents this one, and does the same.
    handlers: those of the application, for what the endpoint raises.
    """

    def __init__(
        self,
        app: ASGIApp,
        route: APIRoute,
        endpoint: Callable[[Request], Awaitable[Response]],
        handlers: Mapping[Any, Any],
    ) -> None:
        self._app, self._route = app, route
        self._endpoint = endpoint
        self._guarded = ExceptionMiddleware(self._answered, handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == self._route.path and scope.get("method") == "POST":
            scope["route"] = self._route
            await self._guarded(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)
