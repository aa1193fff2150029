"""What of Vault's protocol the product uses, over TLS: a KV secret of version 2, and the transit engine's encrypt and decrypt.

A real Vault is not to be had from the package registries: its Go module needs a commit of its own library that is not published.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.certificates import Pair

TOKEN = "hvs.a-token-that-nobody-shall-see"
NAMESPACE = "shops/one"


class VaultDouble(ThreadingHTTPServer):
    """``broken``: a status that every request gets, or ``redirect``, ``silent``, ``html``, ``empty``."""

    daemon_threads = True

    def __init__(self, pair: Pair) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.secrets: dict[str, dict[str, str]] = {}
        self.broken: int | str | None = None
        self.asked: list[str] = []
        self.elsewhere: list[str] = []
        self._pad = secrets.token_bytes(4096)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not like the certificate goes away."""

    def crypt(self, data: bytes) -> bytes:
        """No encryption anybody should use; it is no longer the data."""
        return bytes(one ^ two for one, two in zip(data, self._pad, strict=False))


class _Handler(BaseHTTPRequestHandler):
    server: VaultDouble

    def do_GET(self) -> None:
        self._answer(lambda path: {"data": {"data": self.server.secrets[path.removeprefix("kv/data/")], "metadata": {"version": 3}}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(path: str) -> dict[str, Any]:
            what = {"transit/encrypt/veilstream": self._encrypted, "transit/decrypt/veilstream": self._decrypted}[path]
            return {"data": what(body)}

        self._answer(answer)

    def _encrypted(self, body: dict[str, str]) -> dict[str, str]:
        return {"ciphertext": "vault:v1:" + base64.b64encode(self.server.crypt(base64.b64decode(body["plaintext"]))).decode()}

    def _decrypted(self, body: dict[str, str]) -> dict[str, str]:
        return {"plaintext": base64.b64encode(self.server.crypt(base64.b64decode(body["ciphertext"].removeprefix("vault:v1:")))).decode()}

    def _answer(self, make: Any) -> None:
        path = self.path.removeprefix("/v1/")
        self.server.asked.append(path)
        broken = self.server.broken
        if broken == "silent":
            time.sleep(1.5)
            return
        if broken == "redirect":
            self.send_response(307)
            self.send_header("Location", f"https://127.0.0.1:{self.server.port}/v1/elsewhere")
            self.end_headers()
            return
        if path == "elsewhere":
            self.server.elsewhere.append(self.headers.get("X-Vault-Token", ""))
        if isinstance(broken, int):
            self._reply(broken, {"errors": ["permission denied for hvs.a-token-that-nobody-shall-see"]})
        elif self.headers.get("X-Vault-Token") != TOKEN or self.headers.get("X-Vault-Namespace") != NAMESPACE:
            self._reply(403, {"errors": ["permission denied"]})
        elif broken == "html":
            self._reply(200, "<html>sign in</html>")
        elif broken == "empty":
            self._reply(200, {"data": None})
        else:
            try:
                self._reply(200, make(path))
            except KeyError:
                self._reply(404, {"errors": []})

    def _reply(self, status: int, answer: object) -> None:
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the standard error."""


@contextlib.contextmanager
def vault(pair: Pair) -> Iterator[VaultDouble]:
    server = VaultDouble(pair)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
