"""Serves /metrics, /healthz and /readyz of a worker, and nothing else. Table contents are never served.

It answers requests of a few lines, one a connection, and is made for a hostile network: what is unfinished has a deadline, what is long is
cut, and the number of connections is bounded. So nobody who can reach it can take the worker's memory or its file descriptors.

The servers at hand do not do that: aiohttp's (3.14) waits for the rest of a request for ever, and uvicorn has a deadline between requests
only. What is needed here of HTTP is three answers without a body to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest

from streams.errors import ConfigurationError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Of one more, the oldest is closed: who sends a whole request at once is answered, however many others send theirs slowly."""
MAX_REQUEST_BYTES = 8192
"""Request line and headers. A body is not read."""
REQUEST_S = 5.0
"""Until the request must be there."""
ANSWER_S = 10.0
"""Until the answer must have been taken."""
_END = b"\r\n\r\n"
_TEXT = "text/plain; charset=utf-8"


class StatusServer:
    """A small HTTP server beside the stage, on the same event loop."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        host: str,
        port: int,
        alive: Callable[[], str | None],
        ready: Callable[[], str | None],
        request_s: float = REQUEST_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        """``alive`` and ``ready`` answer None, or why not."""
        self._registry = registry
        self._ended = Counter(
            "veilstream_status_ended_total",
            "Requests for metrics or health that were ended: too_many (connections), too_long, too_slow.",
            ["reason"],
            registry=registry,
        )
        self._host = host
        self._alive = alive
        self._ready = ready
        self._request_s, self._answer_s = request_s, answer_s
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._has_failed = False
        self.port = port

    async def start(self) -> None:
        """Bind. Raises ConfigurationError if the address can't be had, or the port is taken."""
        try:
            self._server = await asyncio.start_server(self._connected, self._host, self.port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise ConfigurationError(
                f"{self._host} port {self.port} can't be used ({error.strerror}); set VEILSTREAM_METRICS_HOST and VEILSTREAM_METRICS_PORT, "
                "0 takes a free one"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Connections that are open end at once."""
        if self._server is None:
            return
        self._server.close()
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).transport.abort()
            # One that has just ended is still listed until the loop's next turn.
            if oldest.cancel():
                self._ended.labels("too_many").inc()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="status request")
        self._open[task] = writer
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        writer = self._open.pop(task, None)
        if writer is not None:
            writer.transport.abort()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tell(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever goes away, or sends or takes too slowly, is no event for a log: anybody may do so as often as they like.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                async with asyncio.timeout(self._request_s):
                    request = await _request(reader)
                if request is None:
                    self._ended.labels("too_long").inc()
                async with asyncio.timeout(self._answer_s):
                    writer.write(self._answered(request))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
            except TimeoutError:
                self._ended.labels("too_slow").inc()

    def _answered(self, request: bytes | None) -> bytes:
        """The whole answer to a request's bytes; None is one that is too long."""
        if request is None:
            return _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        parts = request.split(b"\r\n", 1)[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            return _answer(HTTPStatus.BAD_REQUEST)
        method, path = parts[0], parts[1].split(b"?", 1)[0]
        if path not in (b"/metrics", b"/healthz", b"/readyz"):
            return _answer(HTTPStatus.NOT_FOUND)
        if method not in (b"GET", b"HEAD"):
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, more="Allow: GET, HEAD\r\n")
        try:
            answer = self._page(path)
        except Exception as error:  # noqa: BLE001 - whatever a collector of metrics raises, the worker goes on
            self._tell(error)
            answer = _answer(HTTPStatus.INTERNAL_SERVER_ERROR)
        return answer if method == b"GET" else answer[: answer.index(_END) + len(_END)]

    def _page(self, path: bytes) -> bytes:
        if path == b"/metrics":
            return _answer(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST)
        problem = self._alive() if path == b"/healthz" else self._ready()
        if problem is None:
            return _answer(HTTPStatus.OK, b"ok\n")
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem}\n".encode())

    def _tell(self, error: BaseException) -> None:
        """Once: requests are as many as somebody likes."""
        if not self._has_failed:
            self._has_failed = True
            log.error("a request for metrics or health failed (%s); further ones are not logged", type(error).__name__)


async def _request(reader: asyncio.StreamReader) -> bytes | None:
    """Request line and headers; None if they are too long."""
    try:
        return await reader.readuntil(_END)
    except asyncio.LimitOverrunError:
        return None


def _answer(status: HTTPStatus, body: bytes | None = None, kind: str = _TEXT, *, more: str = "") -> bytes:
    """A whole HTTP answer; without a body, the status in words is the body."""
    content = f"{status.phrase}\n".encode() if body is None else body
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}Connection: close"
    return head.encode("latin-1") + _END + content
