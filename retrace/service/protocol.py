"""The predictor: a process without state that answers by the Open Inference Protocol (KServe v2).

It has neither database nor accounts: it belongs behind the gateway, on a network of its own.
Whatever speaks the protocol and serves the same model.onnx can stand in its place.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from retrace.errors import InputError
from retrace.service.problems import SILENT
from retrace.service.protocol_tensors import (
    BINARY,
    HEAD,
    Malformed,
    Message,
    pack,
    parameters,
    unpack,
)
from retrace.service.served import ANSWER, Refused, Served, served
from retrace.service.settings import Settings

ABOUT = (
    "Logits of the published models by the Open Inference Protocol (KServe v2 REST). The tensors "
    "are those of model.onnx: `segments` and, of some models, `features` in, `logits` out. Errors "
    'are `{"error": "..."}`.'
)


def create_predictor(settings: Settings) -> FastAPI:
    """The predictor as one ASGI application: the published models and nothing else."""
    return _Predictor(settings).app


class _Predictor:
    """The models, and the routes to them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._served = served(settings)
        self._waiting = 0
        self.app = app = FastAPI(
            title="Retrace predictor",
            description=ABOUT,
            lifespan=self._running,
            docs_url=None,
            redoc_url=None,
            telemetry=SILENT,
        )
        for kind in (Refused, Malformed, InputError, HTTPException):
            app.add_exception_handler(kind, _refusal)
        app.get("/v2", summary="The server and its extensions")(self.server)
        app.get("/v2/health/live", summary="Whether it runs")(self.live)
        app.get("/v2/health/ready", summary="Whether all models can answer")(self.ready)
        for place in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            app.get(place, summary="What a model takes and answers")(self.model)
            app.get(f"{place}/ready", summary="Whether a model can answer")(self.model_ready)
            app.post(f"{place}/infer", summary="Logits of segments")(self.infer)

    @asynccontextmanager
    async def _running(self, app: FastAPI) -> AsyncIterator[None]:
        self._threads = CapacityLimiter(os.cpu_count() or 1)  # each call computes on one thread
        yield

    async def server(self) -> dict[str, Any]:
        """Its name, its version, and the extensions of the protocol that it knows."""
        return {"name": "retrace", "version": version("retrace"), "extensions": [BINARY]}

    async def live(self) -> dict[str, bool]:
        """200 as long as the process runs."""
        return {"live": True}

    async def ready(self) -> dict[str, bool]:
        """200 where every model can answer, else 503 with the reason."""
        if not self._served:
            raise Refused(503, "no model is here: run dvc pull, then start again")
        for model in self._served.values():
            _ = model.ready
        return {"ready": True}

    async def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Its versions, and the names, types and shapes of its tensors."""
        return self._find(name, version).described()

    async def model_ready(self, name: str, version: str | None = None) -> dict[str, Any]:
        """200 where the model can answer, else 503 with the reason."""
        return {"name": self._find(name, version).name, "ready": True}

    async def infer(self, request: Request, name: str, version: str | None = None) -> Response:
        """Logits, float32, one row for each segment; as numbers in the JSON or, where the request
        asks for it, behind it."""
        model = self._find(name, version)
        if self._waiting >= self._settings.concurrent:
            raise Refused(503, "too many requests at a time: try again", Retry_After="1")
        self._waiting += 1
        try:
            body = await self._body(request)
            length = request.headers.get(HEAD)
            self._bound_json(body, length)
            return await to_thread.run_sync(_infer, model, body, length, limiter=self._threads)
        finally:
            self._waiting -= 1

    def _find(self, name: str, version: str | None) -> Served:
        if name not in self._served:
            raise Refused(404, f"model {name[:100]!r}: not served here")
        model = self._served[name]
        if version not in (None, model.version):  # 503 where it is not ready
            raise Refused(
                404, f"version {str(version)[:100]!r} of {name}: {model.version} is served"
            )
        return model

    async def _body(self, request: Request) -> bytes:
        """The body, counted while it arrives."""
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused(415, "Content-Encoding; a body is sent as it is")
        parts, size, largest = [], 0, self._settings.largest_upload
        seconds = self._settings.body_seconds
        try:
            async with asyncio.timeout(seconds):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > largest:
                        raise Refused(413, f"over {largest} bytes: send fewer segments at a time")
        except TimeoutError:
            raise Refused(408, f"the body took longer than {seconds:g} s") from None
        return b"".join(parts)

    def _bound_json(self, body: bytes, length: str | None) -> None:
        """Refuse JSON that would fill the memory: its numbers take ten times their float32."""
        size, largest = len(body), self._settings.largest_body
        if length is not None and length.isdecimal():
            size = min(size, int(length[:20]))
        if size > largest:
            raise Refused(413, f"over {largest} bytes of JSON: send numbers as {BINARY}")


def _infer(model: Served, body: bytes, length: str | None) -> Response:
    message = unpack("inputs", body, length)
    binary = _binary(message)
    head: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if "id" in message.head:
        head["id"] = message.head["id"]
        if not isinstance(head["id"], str) or len(head["id"]) > 200:
            raise Refused(400, "id; it must be a string of at most 200 characters")
    content, headers = pack("outputs", head, {ANSWER: model.answered(message)}, binary)
    return Response(content, headers=headers)


def _binary(message: Message) -> bool:
    """Whether the request wants its answer's numbers behind the JSON; Refused for what it cannot
    have."""
    binary = parameters(message.head).get("binary_data_output", False)
    outputs = message.head.get("outputs") or [{"name": ANSWER}]
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise Refused(400, f"outputs; there is one, {ANSWER}")
    wanted = parameters(outputs[0])
    if outputs[0].get("name") != ANSWER or wanted.get("classification"):
        raise Refused(400, f"outputs; there is one, {ANSWER}, and no classification of it")
    binary = wanted.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise Refused(400, "binary_data; it must be true or false")
    return binary


async def _refusal(request: Request, error: Exception) -> Response:
    status = getattr(error, "status", getattr(error, "status_code", 400))
    said = getattr(error, "detail", None) or str(error)
    return JSONResponse({"error": said}, status, getattr(error, "headers", None))
