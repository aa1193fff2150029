"""A Confluent-compatible registry of schemas, as small as tests need it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote


class Server(ThreadingHTTPServer):
    """Subjects and ids in memory; ``answer`` replaces every answer where it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.texts: dict[int, str] = {}
        self.subjects: dict[str, int] = {}
        self.asked: list[str] = []
        self.answer: tuple[int, bytes] | None = None
        self.headers: dict[str, str] = {}
        self.read_only = False
        self.may_answer = threading.Event()
        """Cleared, every answer waits."""
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: callers that gave up are what some tests want."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("Server", self.server)
        text = server.texts.get(int(self.path.rsplit("/", 1)[1]))
        self._reply(*((200, {"schema": text}) if text is not None else (404, {"error_code": 40403, "message": "Schema not found"})))

    def do_POST(self) -> None:
        server = cast("Server", self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = unquote(self.path.split("/")[2])
        if not self.path.endswith("/versions"):
            known = server.subjects.get(subject)
            self._reply(*((200, {"id": known}) if known is not None else (404, {"error_code": 40401, "message": "Subject not found"})))
        elif server.read_only:
            self._reply(422, {"error_code": 42205, "message": "Subject is in read-only mode"})
        else:
            server.subjects[subject] = 100_001 + len(server.subjects)
            server.texts[server.subjects[subject]] = body["schema"]
            self._reply(200, {"id": server.subjects[subject]})

    def _reply(self, code: int, answer: dict[str, Any]) -> None:
        server = cast("Server", self.server)
        server.asked.append(f"{self.command} {unquote(self.path)}")
        server.may_answer.wait()
        status, body = server.answer or (code, json.dumps(answer).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at ``asked``."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.may_answer.set()
            running.shutdown()
            thread.join()
