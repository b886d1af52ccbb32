"""What is counted, and what is around every answer: headers, its time, a line in the log."""

import logging
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from retrace.service.pool import Models

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10)  # s
# Answers are data: no browser is to guess their type, run them, frame them or keep them.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_log = logging.getLogger("retrace.requests")


class Metrics:
    """The counters of one application; `registry` renders them for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "retrace_requests",
            "Requests by route and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "retrace_request_seconds",
            "Time until the answer was sent",
            ["method", "route"],
            buckets=BOUNDS,
            registry=self.registry,
        )
        self._segments = Counter(
            "retrace_predictions",
            "Beats and windows answered, by model and class",
            ["model", "class"],
            registry=self.registry,
        )
        self._flagged = Counter(
            "retrace_flagged", "Answers that were flagged", ["model"], registry=self.registry
        )
        self._classes: dict[tuple[str, str], Counter] = {}
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def follow(self, models: "Models") -> None:
        """Tell from now on what these models do, as they are when it is asked."""
        self.registry.register(_InProduction(models))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. (Looking the labels up takes longer than counting.)"""
        key = (method, route, status)
        if (found := self._known.get(key)) is None:
            found = self._known[key] = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
        found[0].inc()
        found[1].observe(seconds)

    def predicted(self, model: str, counts: dict[str, int], flagged: bool | None) -> None:
        """Count one answer. counts: how many beats or windows of each class."""
        for name, count in counts.items():
            if not count:
                continue
            if (found := self._classes.get((model, name))) is None:
                found = self._classes[model, name] = self._segments.labels(model, name)
            found.inc(count)
        if flagged:
            self._flagged.labels(model).inc()


class _InProduction(Collector):
    """Which version of each model answers, and whether any does; the database is not asked."""

    def __init__(self, models: "Models") -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        suspended = GaugeMetricFamily(
            "retrace_suspended", "1 while a model is suspended", labels=["model"]
        )
        version = GaugeMetricFamily(
            "retrace_production_version", "The version that answers", labels=["model"]
        )
        for model in self._models:
            suspended.add_metric([model.name], float(model.name in self._models.suspended))
            if model.number is not None:
                version.add_metric([model.name], float(model.number))
        yield suspended
        yield version


class Observed:
    """ASGI middleware around everything else. It says of a request the template of its route, never
    the path or the query."""

    def __init__(self, app: ASGIApp, log: bool) -> None:
        self._app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = guarded(message.get("headers", ()))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = perf_counter() - start
            route = getattr(scope.get("route"), "path", "-")
            method = scope["method"] if scope["method"] in METHODS else "-"
            scope["app"].state.service.metrics.request(method, route, status, seconds)
            if self._log:
                who = scope.get("state", {}).get("user_id", "-")
                _log.info("%s %s %d %.1f ms %s", method, route, status, 1e3 * seconds, who)


def guarded(headers: object) -> list[tuple[bytes, bytes]]:
    """These headers and those of HEADERS that they lack."""
    given: list[tuple[bytes, bytes]] = list(headers)  # type: ignore[call-overload]
    names = {name for name, _ in given}
    given.extend(pair for pair in HEADERS if pair[0] not in names)
    return given
