"""Against Apicurio Registry, a real one, bare and behind a gateway that asks for TLS certificates, passwords and tokens."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import logging
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

import schemas
from streams.errors import ConfigurationError, Reason, RecordError, TransientError
from streams.serde.codec import open_codec, open_codecs
from streams.serde.http_registry import HttpRegistry
from streams.serde.registry_access import RegistryAccess
from streams.serde.registry_http import NoAnswerError, RegistryHttp
from streams.settings import Settings
from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS, TOPICS
from tests.support.apicurio import Apicurio
from tests.support.certificates import Certificates
from tests.support.gateway import gateway

pytestmark = pytest.mark.kafka

RAW = {"user_id": "u", "event_type": "view"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


def settings(folder: Path, url: str, prefix: str, **more: Any) -> Settings:
    return Settings(registry_url=url, topic_prefix=prefix, registry_cache=folder / "cache", **more)


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.mark.parametrize("strategy", ["TopicName", "RecordName", "TopicRecordName"])
def test_every_topic_registers_and_is_found_again(apicurio: Apicurio, tmp_path: Path, prefix: str, strategy: str) -> None:
    chosen = settings(tmp_path, apicurio.url, prefix, registry_subjects=strategy)
    writers, readers = open_codecs(chosen), open_codecs(chosen)
    for spec in TOPICS:
        writers.for_topic(spec.name)
    value = writers.for_topic(BEHAVIOUR_RAW).encode(RAW)
    assert readers.for_topic(BEHAVIOUR_RAW).decode(value)["user_id"] == "u"
    record = json.loads(schemas.current(BEHAVIOUR_RAW))
    full = f"{record['namespace']}.{record['name']}"
    named = {"TopicName": f"{prefix}behaviour.raw-value", "RecordName": full, "TopicRecordName": f"{prefix}behaviour.raw-{full}"}
    with urllib.request.urlopen(f"{apicurio.url}/subjects") as answer:  # noqa: S310
        assert named[strategy] in json.loads(answer.read())


def foreign_value(apicurio: Apicurio, subject: str) -> bytes:
    """An event as a producer with the first released schema writes it."""
    text = schemas.released(BEHAVIOUR_RAW)[0]
    answer = RegistryHttp(RegistryAccess(apicurio.url)).ask(f"/subjects/{subject}/versions", json.dumps({"schema": text}).encode(), subject)
    assert answer is not None
    out = io.BytesIO(b"\0" + answer["id"].to_bytes(4, "big"))
    out.seek(5)
    fastavro.schemaless_writer(out, json.loads(text), RAW)
    return out.getvalue()


def test_an_older_version_and_an_unknown_id(apicurio: Apicurio, tmp_path: Path, prefix: str) -> None:
    codec = open_codecs(settings(tmp_path, apicurio.url, prefix)).for_topic(BEHAVIOUR_RAW)
    value = foreign_value(apicurio, f"{prefix}older")
    assert value[:5] != codec.encode(RAW)[:5]
    assert codec.decode(value)["user_id"] == "u"
    with pytest.raises(RecordError) as caught:
        codec.decode(b"\0" + (2_000_000_000).to_bytes(4, "big") + value[5:])
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA


def test_an_address_without_the_path_of_the_api_is_named(apicurio: Apicurio) -> None:
    with pytest.raises(ConfigurationError, match=r"no schema registry .*VEILSTREAM_REGISTRY_URL.*/apis/ccompat/v7"):
        HttpRegistry(RegistryAccess(f"http://127.0.0.1:{apicurio.port}")).id_for(BEHAVIOUR_RAW)


def test_client_certificate_and_password(apicurio: Apicurio, certificates: Certificates, tmp_path: Path, prefix: str) -> None:
    password = tmp_path / "password"
    password.write_text("sécret:with colon\n", encoding="utf-8")
    with gateway(apicurio.url, basic("me:sécret:with colon"), certificates, client_certificate=True) as front:
        with_all = {
            "registry_cafile": certificates.authority.cert,
            "registry_certfile": certificates.client.cert,
            "registry_keyfile": certificates.client.key,
            "registry_user": "me",
            "registry_password_file": password,
        }
        codec = open_codecs(settings(tmp_path, front.url, prefix, **with_all)).for_topic(BEHAVIOUR_RAW)
        assert codec.decode(codec.encode(RAW))["user_id"] == "u"
        for missing, words in [
            ("registry_cafile", r"can't be trusted .*VEILSTREAM_REGISTRY_CAFILE"),
            ("registry_certfile", r"refused the TLS connection .*VEILSTREAM_REGISTRY_CERTFILE"),
        ]:
            less = {
                name: value
                for name, value in with_all.items()
                if name != missing and (missing, name) != ("registry_certfile", "registry_keyfile")
            }
            with pytest.raises(ConfigurationError, match=words):
                answered(lambda less=less: open_codecs(settings(tmp_path / "fresh", front.url, prefix, **less)).for_topic(BEHAVIOUR_RAW))


def answered(ask: Callable[[], object]) -> None:
    """Ask again, as workers do, while a server that refuses ends the connection before its reason is read."""
    for _ in range(5):
        try:
            ask()
        except NoAnswerError:
            continue
        return


def test_a_certificate_for_another_name(apicurio: Apicurio, certificates: Certificates, tmp_path: Path) -> None:
    with gateway(apicurio.url, None, certificates) as front:
        access = RegistryAccess(front.url.replace("127.0.0.1", "127.1"), cafile=certificates.authority.cert)
        with pytest.raises(ConfigurationError, match=r"can't be trusted .*VEILSTREAM_REGISTRY_URL"):
            HttpRegistry(access).id_for(BEHAVIOUR_RAW)


def test_tls_to_a_server_without_it_and_the_reverse(apicurio: Apicurio, certificates: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="does not speak TLS"):
        HttpRegistry(RegistryAccess(apicurio.url.replace("http:", "https:"))).id_for(BEHAVIOUR_RAW)
    with gateway(apicurio.url, None, certificates) as front, pytest.raises(TransientError, match="VEILSTREAM_REGISTRY_URL"):
        HttpRegistry(RegistryAccess(front.url.replace("https:", "http:"))).id_for(BEHAVIOUR_RAW)


def test_tokens_are_read_anew_and_never_shown(apicurio: Apicurio, tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("first-token\n")
    wanted = {"Authorization": "Bearer first-token", "target-sr-cluster": "lsrc-1"}
    with gateway(apicurio.url, wanted) as front:
        chosen = settings(tmp_path, front.url, prefix, registry_token_file=token, registry_headers="target-sr-cluster=lsrc-1")
        codecs = open_codecs(chosen)
        codecs.for_topic(BEHAVIOUR_RAW)
        front.wanted = {"Authorization": "Bearer second-token"}
        with pytest.raises(ConfigurationError, match=r"HTTP 401.*VEILSTREAM_REGISTRY_TOKEN_FILE") as caught:
            codecs.for_topic(CATALOGUE_ITEMS)
        token.write_text("second-token\n")
        codecs.for_topic(CATALOGUE_ITEMS)
        front.is_forbidding = True
        with pytest.raises(ConfigurationError, match=r"HTTP 403.*40301"):
            codecs.for_topic(TOPICS[-1].name)
    assert "-token" not in caplog.text + str(caught.value)


def test_a_token_that_changes_between_reading_and_asking(apicurio: Apicurio, tmp_path: Path, prefix: str) -> None:
    """A request with the old token is answered by 401; by then the new one is there."""
    texts = itertools.chain(["old", "new"], itertools.repeat("new"))

    class Rotating(RegistryAccess):
        def secret_headers(self) -> dict[str, str]:
            return {"Authorization": f"Bearer {next(texts)}"}

    with gateway(apicurio.url, {"Authorization": "Bearer new"}) as front:
        HttpRegistry(Rotating(front.url), topic_prefix=prefix).id_for(BEHAVIOUR_RAW)
        assert front.asked[0] == 401 and 401 not in front.asked[1:]


def test_a_worker_starts_and_reads_while_the_registry_is_away(
    apicurio: Apicurio, tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = foreign_value(apicurio, f"{prefix}older")
    with gateway(apicurio.url) as front:
        chosen = settings(tmp_path, front.url, prefix)
        codec = open_codecs(chosen).for_topic(BEHAVIOUR_RAW)
        assert codec.decode(value)["user_id"] == "u"
    # Now nobody listens there.
    again = open_codecs(chosen).for_topic(BEHAVIOUR_RAW)
    assert again.encode(RAW) == codec.encode(RAW)
    assert again.decode(value)["user_id"] == "u"
    assert "the cached id of" in caplog.text and "the cached schema" in caplog.text
    with pytest.raises(TransientError):
        again.decode(b"\0" + (1_000_000).to_bytes(4, "big") + value[5:])
    with pytest.raises(TransientError):
        open_codecs(chosen).for_topic(CATALOGUE_ITEMS)


async def test_the_event_loop_runs_on_while_the_registry_hangs(apicurio: Apicurio, tmp_path: Path, prefix: str) -> None:
    """Decoding on the loop never waits, and gets the answer once it is there; `prepare` waits, while everything else runs on."""
    value = await asyncio.to_thread(foreign_value, apicurio, f"{prefix}older")
    with gateway(apicurio.url) as front:
        codec = await open_codec(BEHAVIOUR_RAW, settings(tmp_path, front.url, prefix))
        front.is_hanging = True
        longest, turns = 0.0, 0
        preparing = asyncio.ensure_future(codec.prepare(value))
        begin = time.monotonic()
        while time.monotonic() - begin < 1.0:
            before = time.monotonic()
            with pytest.raises(TransientError, match="is being asked"):
                codec.decode(value)
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
            turns += 1
        assert turns > 50 and longest < 0.5 and not preparing.done()
        front.is_hanging = False
        front.released.set()
        await preparing
        assert codec.decode(value)["user_id"] == "u"


def test_a_registry_that_was_set_up_anew_has_the_last_word(
    apicurio: Apicurio, tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(tmp_path, apicurio.url, prefix)
    first = open_codecs(chosen).for_topic(BEHAVIOUR_RAW).encode(RAW)
    apicurio.stop()
    apicurio.start()
    codecs = open_codecs(chosen)
    codecs.for_topic(CATALOGUE_ITEMS)
    second = codecs.for_topic(BEHAVIOUR_RAW).encode(RAW)
    assert first[1:5] != second[1:5]
    assert "was it set up anew?" in caplog.text
