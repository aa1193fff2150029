"""Tokens from files and from a token endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streams.errors import ConfigurationError
from streams.kafka.clients import client_config
from streams.kafka.tokens import EndpointTokens, FileTokens, NoTokenError, expiry_s, token_provider
from streams.settings import KafkaSettings


def jwt(claims: dict[str, Any]) -> str:
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)) + ".c2ln"
    )


class Endpoint:
    """Answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"")
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                endpoint.asked.append((base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode(), form))
                code, body = endpoint.answer
                self.send_response(code)
                for name, value in endpoint.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/token"

    def gives(self, **answer: Any) -> None:
        self.answer = (200, json.dumps(answer).encode())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.server.shutdown()
    running.server.server_close()


def kafka(tmp_path: Path, **settings: Any) -> KafkaSettings:
    secret = tmp_path / "secret"
    if not secret.exists():
        secret.write_text("s&cret\n")
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_client_id": "me:1", "sasl_client_secret_file": secret}
    return KafkaSettings.model_validate({**given, **settings})


def token(provider: Any) -> str:
    return str(asyncio.run(provider.token()))


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    provider = FileTokens(file)
    assert token(provider) == "one"
    file.write_text("two\n")
    assert token(provider) == "two"
    assert client_config(kafka(tmp_path, sasl_token_file=file))["sasl_oauth_token_provider"] is not None


def test_a_token_that_is_over_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(jwt({"exp": 100}))
    assert token(FileTokens(file, now_s=lambda: 99.0)) == file.read_text()
    with pytest.raises(NoTokenError, match="expired 7 s ago; look at what renews it, and at this clock"):
        token(FileTokens(file, now_s=lambda: 107.0))


@pytest.mark.parametrize(
    ("content", "said"), [(None, "FileNotFoundError"), (b"", "no bearer token"), (b"a b", "no bearer token"), (b"\xff", "Unicode")]
)
def test_a_file_without_a_token(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NoTokenError, match=f"KAFKA_SASL_TOKEN_FILE=.*{said}"):
        token(FileTokens(file))


def test_a_token_s_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match="may be written by others"):
        token(FileTokens(file))


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "a.!.c", jwt({}), jwt({"exp": "soon"})])
def test_tokens_that_tell_no_end(text: str) -> None:
    assert expiry_s(text) is None
    assert expiry_s(jwt({"exp": 12})) == 12.0


def test_an_endpoint_is_asked_again_when_most_of_a_token_s_life_is_over(tmp_path: Path, endpoint: Endpoint) -> None:
    now = [0.0]
    provider = EndpointTokens(kafka(tmp_path, sasl_token_url=endpoint.url, sasl_scope="kafka"), monotonic=lambda: now[0])
    endpoint.gives(access_token="one", expires_in=100)
    assert token(provider) == "one"
    endpoint.gives(access_token="two", expires_in=100)
    now[0] = 79
    assert token(provider) == "one"
    now[0] = 80
    (tmp_path / "secret").write_text("new\n")
    assert token(provider) == "two"
    form = {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    assert endpoint.asked == [("me%3A1:s%26cret", form), ("me%3A1:new", form)], "the secret is read anew"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b"{}"), "answered HTTP 401; check KAFKA_SASL_CLIENT_ID, KAFKA_SASL_CLIENT_SECRET_FILE and KAFKA_SASL_SCOPE"),
        ((503, b""), "answered HTTP 503$"),
        ((302, b""), "answered HTTP 302$"),
        ((200, b"<html>"), "is no token endpoint"),
        ((200, b"[]"), "is no token endpoint"),
        ((200, b'{"access_token": 5}'), "no bearer token"),
        ((200, b'{"access_token": "a b"}'), "no bearer token"),
    ],
)
def test_an_endpoint_that_gives_no_token(tmp_path: Path, endpoint: Endpoint, answer: tuple[int, bytes], said: str) -> None:
    endpoint.answer, endpoint.headers = answer, {"Location": endpoint.url} if answer[0] == 302 else {}
    with pytest.raises(NoTokenError, match=said) as refusal:
        token(EndpointTokens(kafka(tmp_path, sasl_token_url=endpoint.url)))
    assert "cret" not in str(refusal.value).replace("SECRET", "") and len(endpoint.asked) == 1


def test_an_endpoint_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(NoTokenError, match="does not answer"):
        token(EndpointTokens(kafka(tmp_path, sasl_token_url="http://127.0.0.1:1/token")))
    (tmp_path / "secret").write_text("")
    with pytest.raises(NoTokenError, match=r"KAFKA_SASL_CLIENT_SECRET_FILE=.* can't be read"):
        token(EndpointTokens(kafka(tmp_path, sasl_token_url="http://127.0.0.1:1/token")))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_URL"),
        ({"sasl_token_url": "https://a/t", "sasl_token_file": "f"}, "either KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_URL"),
        ({"sasl_token_url": "http://login.shop/t"}, "must be an https:// address"),
        ({"sasl_token_url": "http://localhost.shop/t"}, "must be an https:// address"),
        ({"sasl_token_url": "https://me:pw@login.shop/t"}, "without a user"),
        ({"sasl_token_url": "ftp://login.shop/t"}, "must be an https:// address"),
        (
            {"sasl_token_url": "https://login.shop/t", "sasl_client_id": None},
            "needs KAFKA_SASL_CLIENT_ID and KAFKA_SASL_CLIENT_SECRET_FILE",
        ),
        ({"sasl_token_url": "https://login.shop/t", "sasl_token_cafile": "none.pem"}, "KAFKA_SASL_TOKEN_CAFILE=none.pem can't be used"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        token_provider(kafka(tmp_path, **settings))


def test_the_clients_of_a_process_share_an_endpoint_s_token(tmp_path: Path, endpoint: Endpoint) -> None:
    settings = kafka(tmp_path, sasl_token_url=endpoint.url)
    endpoint.gives(access_token="one")
    first, second = token_provider(settings), token_provider(kafka(tmp_path, sasl_token_url=endpoint.url))
    assert token(first) == token(second) == "one" and first is second and len(endpoint.asked) == 1
