"""The status server among those who mean it no good: it answers everybody else, and keeps neither descriptors nor memory for them."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from streams.engine.status_server import MAX_CONNECTIONS, MAX_REQUEST_BYTES, StatusServer
from streams.errors import ConfigurationError
from streams.settings import Settings
from tests.support.waiting import until

ATTACKER = """
import socket, sys, time
port, count, request = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape").encode("latin-1")
held = []
for _ in range(count):
    held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    held[-1].sendall(request)
print("holding", flush=True)
sys.stdin.read()
"""
REASONS = ("too_many", "too_slow")
SLOW = "GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nX-a: "


class Served:
    def __init__(self) -> None:
        self.problem: str | None = None
        self.registry = CollectorRegistry()
        Gauge("size", "Of something.", registry=self.registry).set(7)
        self.server = StatusServer(
            self.registry, host="127.0.0.1", port=0, alive=lambda: None, ready=lambda: self.problem, request_s=1.0, answer_s=1.0
        )

    async def raw(self, request: bytes, *, within_s: float = 10) -> bytes:
        """Everything that comes back until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(request)
        try:
            async with asyncio.timeout(within_s):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async def get(self, path: str, method: str = "GET") -> tuple[int, bytes, Any]:
        """By another implementation of HTTP."""

        def ask() -> tuple[int, bytes, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
            connection.request(method, path)
            answer = connection.getresponse()
            found = answer.status, answer.read(), answer.headers
            connection.close()
            return found

        return await asyncio.to_thread(ask)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start()
    yield served
    await served.server.stop()


@contextmanager
def attacker(served: Served, count: str, request: str) -> Iterator[Callable[[], None]]:
    """A process that sends so many times the beginning of a request. What is yielded waits until it has."""
    command = [sys.executable, "-c", ATTACKER, str(served.server.port), count, request]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        read = process.stdout.readline

        def holding() -> None:
            assert read() == b"holding\n"

        yield holding
        process.stdin.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def test_what_it_serves(served: Served) -> None:
    status, body, headers = await served.get("/metrics")
    assert status == 200 and b"size 7.0\n" in body and headers["Content-Type"].startswith("text/plain; version=")
    assert "Server" not in headers
    assert (await served.get("/healthz?verbose"))[:2] == (200, b"ok\n")
    assert (await served.get("/readyz"))[:2] == (200, b"ok\n")
    served.problem = "a topic is behind: ünderstood"
    assert (await served.get("/readyz"))[:2] == (503, "a topic is behind: ünderstood\n".encode())
    status, body, headers = await served.get("/metrics", "HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /debug HTTP/1.1\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"TRACE /metrics HTTP/1.1\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * MAX_REQUEST_BYTES + b"\r\n\r\n", 431),
        (b"a" * 2 * MAX_REQUEST_BYTES, 431),
    ],
)
async def test_what_it_refuses(served: Served, caplog: pytest.LogCaptureFixture, request_: bytes, status: int) -> None:
    answer = await served.raw(request_)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert caplog.records == []


@pytest.mark.slow
async def test_hundreds_of_slow_connections_keep_nobody_out(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    before = descriptors()
    with attacker(served, "500", SLOW) as holding:
        await asyncio.to_thread(holding)
        began = time.monotonic()
        for _ in range(20):
            assert (await served.get("/healthz"))[:2] == (200, b"ok\n")
        assert time.monotonic() - began < 5
        assert descriptors() < before + MAX_CONNECTIONS + 20
        # None of them is kept for longer than a request may take.
        await until(lambda: descriptors() <= before + 6, lambda: descriptors() - before, seconds=10)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    ended = {reason: served.registry.get_sample_value("veilstream_status_ended_total", {"reason": reason}) for reason in REASONS}
    assert (ended["too_many"] or 0) + (ended["too_slow"] or 0) == 500, "each once"


@pytest.mark.slow
async def test_an_answer_that_nobody_takes_is_given_up(served: Served) -> None:
    for number in range(3000):
        Gauge(f"gauge_{number}", "x" * 1000, registry=served.registry)
    before = descriptors()
    with attacker(served, "20", "GET /metrics HTTP/1.1\\r\\n\\r\\n") as holding:
        await asyncio.to_thread(holding)
        await until(lambda: descriptors() <= before + 6, lambda: descriptors() - before, seconds=20)
        assert (await served.get("/metrics"))[0] == 200


async def test_a_failing_metric_is_said_once_and_without_a_traceback(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> Any:
            if self.is_broken:
                raise RuntimeError("user 4711")
            return []

        is_broken = False

    broken = Broken()
    served.registry.register(broken)  # type: ignore[arg-type]
    broken.is_broken = True
    for _ in range(3):
        assert (await served.get("/metrics"))[0] == 500
    assert [record.getMessage() for record in caplog.records] == [
        "a request for metrics or health failed (RuntimeError); further ones are not logged"
    ]
    assert caplog.records[0].exc_info is None
    assert (await served.get("/healthz"))[0] == 200


async def test_stopping_ends_open_connections(served: Served) -> None:
    waiting = asyncio.create_task(served.raw(b"GET /hea"))
    await asyncio.sleep(0.1)
    await served.server.stop()
    assert await waiting == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", served.server.port)


async def test_an_address_that_can_not_be_had_is_named(served: Served) -> None:
    for host, port in (("127.0.0.1", served.server.port), ("203.0.113.7", 0), ("no such host", 0)):
        taken = StatusServer(CollectorRegistry(), host=host, port=port, alive=lambda: None, ready=lambda: None)
        with pytest.raises(ConfigurationError, match=f"{host} port {port} can't be used .*VEILSTREAM_METRICS_HOST"):
            await taken.start()


def test_it_listens_on_loopback_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VEILSTREAM_METRICS_HOST", raising=False)
    assert Settings().metrics_host == "127.0.0.1"
    monkeypatch.setenv("VEILSTREAM_METRICS_HOST", "0.0.0.0")
    assert Settings().metrics_host == "0.0.0.0"
