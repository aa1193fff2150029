"""What stands in front of a registry in a cloud: it ends TLS, asks who is there, and hands on what is allowed."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.support.certificates import Certificates


class Gateway(ThreadingHTTPServer):
    """``wanted``: headers without whose exact values a request is answered with HTTP 401. ``asked`` has the status of every answer."""

    daemon_threads = True

    def __init__(self, upstream: str, wanted: dict[str, str], certificates: Certificates | None, *, client_certificate: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.wanted = wanted
        self.asked: list[int] = []
        self.is_forbidding = False
        """HTTP 403 for everyone."""
        self.is_hanging = False
        """Requests are taken and not answered."""
        self.released = threading.Event()
        self._secure = certificates is not None
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificates.server)
            if client_certificate:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificates.authority.cert)
            # Handshakes run in the threads of the requests, so that a caller without a certificate stops nobody.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"{'https' if self._secure else 'http'}://127.0.0.1:{self.server_address[1]}{urllib.parse.urlsplit(self.upstream).path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: handshakes that fail are what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        gateway = cast("Gateway", self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        if gateway.is_hanging:
            gateway.released.wait()
        if any(self.headers.get(name) != value for name, value in gateway.wanted.items()):
            self._reply(401, b'{"error_code": 401, "message": "Unauthorized"}')
            return
        if gateway.is_forbidding:
            self._reply(403, b'{"error_code": 40301, "message": "User is denied operation"}')
            return
        parts = urllib.parse.urlsplit(gateway.upstream)
        target = f"{parts.scheme}://{parts.netloc}{self.path}"
        request = urllib.request.Request(target, data=body, method=self.command)  # noqa: S310 - an address of ours
        request.add_header("Content-Type", self.headers["Content-Type"])
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                self._reply(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self._reply(error.code, error.read())
            error.close()

    def _reply(self, status: int, body: bytes) -> None:
        cast("Gateway", self.server).asked.append(status)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at ``asked``."""


@contextmanager
def gateway(
    upstream: str, wanted: dict[str, str] | None = None, certificates: Certificates | None = None, *, client_certificate: bool = False
) -> Iterator[Gateway]:
    with Gateway(upstream, wanted or {}, certificates, client_certificate=client_certificate) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            running.shutdown()
            thread.join()
