"""Bounds on the body of every request, held while it streams: bytes, time, and what it unpacks to.

Nothing is buffered here: a piece that came, or was unpacked, goes on at once.
"""

import zlib
from asyncio import timeout
from contextlib import suppress
from time import monotonic

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrace.service.problems import answer
from retrace.service.settings import Settings

UPLOADS = ("/recordings", "/recordings/labelled", "/predict/recording", "/predict/segments")
NUMBERS = ("/predict/beats", "/predict/samples")  # they look who asks before they read
# FastAPI reads JSON before it looks who asks, on the event loop: strangers must not keep it busy.
PARAMS = ("/trainings", "/checks", "/jobs")  # of a pipeline; the last two are the trainer's
LARGEST_PARAMS, LARGEST_OTHER = 256 << 10, 64 << 10  # bytes
SLOWEST = 64 << 10  # bytes a second, behind `settings.body_seconds`
PIECE = 256 << 10  # bytes that are unpacked at a time
# Numbers as text shrink to a third, recordings to a half; zeros to a thousandth.
LARGEST_RATIO = 100
SMALL = 1 << 20  # bytes to which any body may unpack
# What is still read, and dropped, behind an answer that was early: who is sending sees no answer
# where the connection is cut at once.
LINGER, LINGER_BYTES = 2.0, 16 << 20  # s
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # of zlib: with the head of gzip, or of zlib


class BodyLimits:
    """ASGI middleware. 413 above the limit of the route, 408 for a body that is too slow, 415 for a
    Content-Encoding other than gzip and deflate, 400 for one that cannot be unpacked."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            return await self.app(scope, receive, send)  # no body
        coding = headers.get("content-encoding", "identity").strip().lower()
        limit = self._limit(scope["path"])
        body = _Body(receive, limit, self.settings.body_seconds, _WINDOWS.get(coding))
        if not length.isdecimal() or int(length) > limit:
            refused = answer(413, _too_large(limit).detail)
            return await refused(scope, receive, body.answered(send))
        if coding != "identity":
            if coding not in _WINDOWS:
                why = "a Content-Encoding that is not read; gzip and deflate are: send it plain"
                refused = answer(415, why, {"Accept-Encoding": "gzip, deflate"})
                return await refused(scope, receive, body.answered(send))
            packed = (b"content-encoding", b"content-length")
            kept = [pair for pair in scope["headers"] if pair[0] not in packed]
            scope["headers"] = kept  # in place: what is around this sees the route that is found
        return await self.app(scope, body.receive, body.answered(send))

    def _limit(self, path: str) -> int:
        if path in UPLOADS:
            return self.settings.largest_upload
        largest = self.settings.largest_body
        if path in NUMBERS:
            return largest
        return min(largest, LARGEST_PARAMS if path in PARAMS else LARGEST_OTHER)


class _Body:
    """The body of one request."""

    def __init__(self, receive: Receive, limit: int, seconds: float, window: int | None) -> None:
        self._receive, self._limit, self._seconds = receive, limit, seconds
        self._begun = monotonic()
        self._came = self._given = 0  # bytes, before and behind unpacking
        self._whole = False  # all has come
        self._unpacker = zlib.decompressobj(window) if window else None
        self._packed = b""  # what has come and is not unpacked yet
        self._more = False  # the unpacker may hold more than it gave
        self._ended = False  # all is unpacked

    async def receive(self) -> Message:
        """The next piece; HTTPException, which every layer above lets through, at a bound."""
        if self._unpacker and not self._ended:
            return await self._unpacked(self._unpacker)
        message = await self._next()
        self._count(len(message.get("body", b"")))
        return message

    def answered(self, send: Send) -> Send:
        """`send`; an answer before the whole body has come ends the connection."""

        async def sending(message: Message) -> None:
            if not self._whole:
                if message["type"] == "http.response.start":
                    headers = [*message.get("headers", ()), (b"connection", b"close")]
                    message = {**message, "headers": headers}
                elif not message.get("more_body"):
                    await send({**message, "more_body": True})
                    await self._drop()
                    message = {"type": "http.response.body"}
            await send(message)

        return sending

    async def _next(self) -> Message:
        if self._whole:
            return await self._receive()  # it tells when the client goes
        allowed = self._seconds + self._came / SLOWEST
        try:
            async with timeout(self._begun + allowed - monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408, f"the body did not come within {allowed:.3g} s: send it again, or less of it"
            ) from None
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        self._came += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)

    async def _unpacked(self, unpacker: "zlib._Decompress") -> Message:
        while True:
            if not self._packed and not self._more:
                if self._whole:
                    if not unpacker.eof:
                        raise _unreadable("it ends too early")
                    self._ended = True
                    return {"type": "http.request", "body": b"", "more_body": False}
                message = await self._next()
                if message["type"] != "http.request":
                    return message
                self._packed = message.get("body", b"")
            try:
                piece = unpacker.decompress(self._packed, PIECE)
            except zlib.error:
                raise _unreadable("it is damaged") from None
            if unpacker.unused_data:
                raise _unreadable("something follows its end")
            self._packed = unpacker.unconsumed_tail
            self._more = len(piece) == PIECE
            self._count(len(piece))
            if piece:
                return {"type": "http.request", "body": piece, "more_body": True}

    def _count(self, more: int) -> None:
        self._given += more
        if self._given > self._limit:
            raise _too_large(self._limit)
        if self._given > max(SMALL, LARGEST_RATIO * self._came):
            raise HTTPException(
                413,
                f"a body that unpacks to over {LARGEST_RATIO} times its size; none of numbers "
                "does: send it plain",
            )

    async def _drop(self) -> None:
        most = self._came + LINGER_BYTES
        with suppress(TimeoutError):
            async with timeout(LINGER):
                while not self._whole and self._came < most:
                    self._note(await self._receive())


def _too_large(limit: int) -> HTTPException:
    return HTTPException(
        413, f"a body of more than {limit} bytes; that is the limit of this route: send less"
    )


def _unreadable(why: str) -> HTTPException:
    return HTTPException(400, f"a body that cannot be unpacked ({why}): send it again, or plain")
