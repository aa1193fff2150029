"""The HTTP registry against a small server that answers as Confluent's does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import schemas
from streams.errors import ConfigurationError, Reason, RecordError, TransientError
from streams.serde import Codec, open_codecs
from streams.serde import http_registry as module
from streams.serde.codec import open_codec
from streams.serde.http_registry import KEPT, UNKNOWN_FOR_S, HttpRegistry
from streams.serde.registry_access import RegistryAccess
from streams.serde.registry_http import AGAIN_S, AWAY_S, RegistryHttp
from streams.settings import Settings
from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS
from tests.support.http_registry import Server, serving


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cached by default stays out of the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


RAW = {"user_id": "u", "event_type": "view"}


def registry_of(url: str, **how: Any) -> HttpRegistry:
    return HttpRegistry(RegistryAccess(url), **how)


def settings(server: Server, prefix: str = "shop.") -> Settings:
    return Settings(registry_url=server.url, topic_prefix=prefix)


def test_codecs_register_look_up_and_decode(server: Server) -> None:
    writer = open_codecs(settings(server)).for_topic(BEHAVIOUR_RAW)
    value = writer.encode(RAW)
    assert int.from_bytes(value[1:5], "big") == server.subjects["shop.behaviour.raw-value"]
    server.asked.clear()
    reader = open_codecs(settings(server)).for_topic(BEHAVIOUR_RAW)
    assert reader.decode(value)["user_id"] == "u"
    assert server.asked == ["POST /subjects/shop.behaviour.raw-value"], "a subject that exists is looked up, not registered"


def test_a_read_only_registry_needs_no_registering_where_the_subject_is_there(server: Server) -> None:
    registry_of(server.url).id_for(BEHAVIOUR_RAW)
    server.read_only = True
    registry_of(server.url).id_for(BEHAVIOUR_RAW)
    with pytest.raises(ConfigurationError, match=r"refused catalogue\.items-value .*42205.*schemas/avro"):
        registry_of(server.url).id_for(CATALOGUE_ITEMS)


def test_a_writers_schema_is_fetched_once(server: Server) -> None:
    server.texts[7] = schemas.current(BEHAVIOUR_RAW)
    codec = Codec(BEHAVIOUR_RAW, registry_of(server.url))
    value = codec.encode(RAW)
    for _ in range(3):
        codec.decode(b"\x00\x00\x00\x00\x07" + value[5:])
    assert server.asked.count("GET /schemas/ids/7") == 1


def test_another_topics_schema_is_a_wrong_one(server: Server) -> None:
    codecs = open_codecs(settings(server, ""))
    with pytest.raises(RecordError) as caught:
        codecs.for_topic(BEHAVIOUR_RAW).decode(codecs.for_topic(CATALOGUE_ITEMS).encode({"item_id": "i", "title": "t"}))
    assert caught.value.reason is Reason.WRONG_SCHEMA


def test_unknown_ids_are_asked_for_again_after_a_while(server: Server) -> None:
    now = [1000.0]
    registry = registry_of(server.url, monotonic=lambda: now[0])
    assert registry.schema(9) is None and registry.schema(9) is None
    assert len(server.asked) == 1
    server.texts[9] = "{}"
    now[0] += UNKNOWN_FOR_S + 1
    assert registry.schema(9) == "{}"


def test_ids_that_no_registry_can_have_are_not_asked_for(server: Server) -> None:
    server.answer = (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}')
    assert registry_of(server.url).schema(2**31) is None
    assert registry_of(server.url).schema(2**32 - 1) is None
    assert server.asked == []


@pytest.mark.parametrize("answer", [(422, b'{"error_code": 42201}'), (400, b""), (200, b'{"schema": "' + b"x" * 1_100_000 + b'"}')])
def test_one_records_id_does_not_stop_the_rest(server: Server, answer: tuple[int, bytes]) -> None:
    server.answer = answer
    assert registry_of(server.url).schema(5) is None


@pytest.mark.slow
def test_what_is_remembered_is_bounded(server: Server) -> None:
    registry = registry_of(server.url)
    for schema_id in range(KEPT + 5):
        registry.schema(schema_id)
    assert len(registry._unknown) == KEPT
    asked = len(server.asked)
    registry.schema(KEPT + 4)
    assert len(server.asked) == asked, "the latest are kept"


def test_json_schemas_of_others_are_no_avro(server: Server) -> None:
    server.answer = (200, json.dumps({"schemaType": "JSON", "schema": "{}"}).encode())
    assert registry_of(server.url).schema(3) is None


@pytest.mark.parametrize(
    "answer", [(500, b"{}"), (503, b"busy"), (404, b"<html>no such page</html>"), (404, b"[1]"), (200, b"<html>"), (429, b"")]
)
def test_a_registry_that_fails_condemns_no_record(server: Server, answer: tuple[int, bytes]) -> None:
    server.answer = answer
    with pytest.raises(TransientError, match=r"http://127.*VEILSTREAM_REGISTRY_URL"):
        registry_of(server.url).schema(5)


def test_what_may_pass_is_tried_again_and_nothing_else(server: Server) -> None:
    server.texts[7] = "{}"
    waits: list[float] = []

    def mend(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == len(AGAIN_S):
            server.answer = None

    http = RegistryHttp(RegistryAccess(server.url), pause=mend)
    for status in (429, 500, 503):
        waits.clear()
        server.answer = (status, b"")
        assert http.ask("/schemas/ids/7", None, "it") == {"schema": "{}"} and waits == list(AGAIN_S)
    waits.clear()
    for status in (401, 403, 404, 301):
        server.answer = (status, b"")
        with pytest.raises((ConfigurationError, TransientError), match=f"HTTP {status}.*VEILSTREAM_REGISTRY"):
            http.ask("/schemas/ids/7", None, "it")
    assert waits == []


def test_a_registry_that_says_later_is_left_alone_as_long(server: Server) -> None:
    now = [1000.0]
    registry = registry_of(server.url, monotonic=lambda: now[0])
    server.answer, server.headers = (429, b""), {"Retry-After": "30"}
    with pytest.raises(TransientError, match="HTTP 429"):
        registry.schema(7)
    server.answer = None
    server.texts[7] = "{}"
    now[0] += 29
    with pytest.raises(TransientError, match="a moment ago"):
        registry.schema(7)
    assert len(server.asked) == 1
    now[0] += 1
    assert registry.schema(7) == "{}"


def test_credentials_do_not_follow_a_redirect(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with serving() as elsewhere:
        server.answer, server.headers = (302, b""), {"Location": f"{elsewhere.url}/schemas/ids/7"}
        with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_URL"):
            HttpRegistry(RegistryAccess(server.url, token_file=tmp_path / "token")).id_for(BEHAVIOUR_RAW)
        assert elsewhere.asked == []


def test_refused_credentials_hold_up_a_running_worker_and_do_not_end_it(server: Server) -> None:
    """They may be renewed meanwhile, and then it goes on."""
    now = [1000.0]
    registry = registry_of(server.url, monotonic=lambda: now[0])
    server.answer = (401, b"")
    with pytest.raises(TransientError, match=r"HTTP 401.*VEILSTREAM_REGISTRY_USER"):
        registry.schema(7)
    server.answer = None
    server.texts[7] = "{}"
    now[0] += AWAY_S
    assert registry.schema(7) == "{}"


def test_a_token_file_that_is_away_holds_up_a_running_worker_too(server: Server, tmp_path: Path) -> None:
    registry = HttpRegistry(RegistryAccess(server.url, token_file=tmp_path / "token"))
    server.texts[7] = "{}"
    with pytest.raises(TransientError, match="VEILSTREAM_REGISTRY_TOKEN_FILE"):
        registry.schema(7)
    (tmp_path / "token").write_text("now")
    assert registry.schema(7) == "{}"


@pytest.mark.parametrize("code", [401, 403])
def test_refused_access_is_named(server: Server, code: int) -> None:
    server.answer = (code, b'{"error_code": 40101}')
    with pytest.raises(ConfigurationError, match=f"HTTP {code}"):
        registry_of(server.url).id_for(BEHAVIOUR_RAW)


@pytest.mark.parametrize("answer", [b'{"id": "7"}', b'{"id": true}', b'{"id": 2147483648}', b'{"id": -1}', b"{}", b"[]"])
def test_ids_that_are_none(server: Server, answer: bytes) -> None:
    server.answer = (200, answer)
    with pytest.raises(ConfigurationError, match="gave no id"):
        registry_of(server.url).id_for(BEHAVIOUR_RAW)


class CountedEvent(threading.Event):
    """Remembers how long somebody was ready to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return super().wait(timeout)


def test_a_slow_registry_is_waited_for_once_and_its_answer_is_not_lost(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    server.texts[7] = "{}"
    server.may_answer.clear()
    registry = registry_of(server.url)
    with pytest.raises(TransientError, match="slow"):
        registry.schema(7)
    (question,) = registry._questions.values()
    question.done = done = CountedEvent()
    with pytest.raises(TransientError, match="slow"):
        registry.schema(7)
    assert done.waits == [0.0], "nobody waits twice"
    server.may_answer.set()
    assert done.wait(60)
    assert registry.schema(7) == "{}"
    assert len(server.asked) == 1


def test_a_registry_that_is_away_is_not_asked_for_every_record() -> None:
    now = [1000.0]
    with Server() as closed:
        url = closed.url
    registry = registry_of(url, monotonic=lambda: now[0])
    with pytest.raises(TransientError, match="ConnectionRefusedError"):
        registry.schema(1)
    with pytest.raises(TransientError, match="a moment ago"):
        registry.schema(2)
    now[0] += AWAY_S
    with pytest.raises(TransientError, match="ConnectionRefusedError"):
        registry.schema(2)


async def test_the_event_loop_runs_on_while_a_codec_is_opened(server: Server) -> None:
    server.may_answer.clear()
    opening = asyncio.ensure_future(open_codec(BEHAVIOUR_RAW, settings(server)))
    turns = 0
    while not opening.done():
        turns += 1
        if turns == 20:
            server.may_answer.set()
        await asyncio.sleep(0.01)
    assert turns >= 20
    assert (await opening).encode(RAW) and set(server.subjects) == {"shop.behaviour.raw-value"}


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="VEILSTREAM_REGISTRY_URL"):
        open_codecs(Settings(registry_url="http://127.0.0.1:1", registry_cache=tmp_path)).for_topic(BEHAVIOUR_RAW)


@pytest.mark.parametrize(
    "url", ["", "registry:8081", "ftp://registry", "http://", "http://registry:port", "http://[::1", "file:///etc/passwd"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_URL"):
        registry_of(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry_of("https://me:hunter2@registry:8081")
    assert "hunter2" not in str(caught.value)
