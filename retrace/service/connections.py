"""uvicorn's HTTP with bounds for what comes before a body: it has none of its own, and anybody
could fill the memory without an account."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST = 64 << 10  # bytes of headers, of trailers, or of the line before a chunk
PATIENCE = 10.0  # s for them to be complete


class Bounded(HttpToolsProtocol):
    """A connection. What is received counts until the parser has made headers or body of it."""

    _unread = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(PATIENCE, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._progress()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unread > LARGEST:
            self.send_400_response("The headers are too large.")
        elif self._unread and self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self._late)

    def on_headers_complete(self) -> None:
        self._progress()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress()
        super().on_message_complete()

    def _progress(self) -> None:
        self._unread = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
