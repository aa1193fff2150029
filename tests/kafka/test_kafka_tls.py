"""Encryption and login by settings, on Apache Kafka with real certificates; each mistake is one line that names the fix."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.errors import BrokerUnavailable, ConfigurationError
from streams.kafka.clients import connect_admin
from streams.kafka.topic_setup import create_topics
from streams.privacy.keys import generate_keys
from streams.settings import KafkaSettings, Settings
from streams.topics import BEHAVIOUR_CLEAN
from tests.conftest import needs_java
from tests.support.deployment import Deployment
from tests.support.tls_kafka import PASSWORD, SESSION_MS, TlsKafka, of, token
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SHOP = {"VEILSTREAM_MODEL": "hashing", "VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_CONSENT_DEFAULT": "all"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsKafka]:
    with needs_java():
        running = TlsKafka(tmp_path_factory.mktemp("tls"))
    running.start()
    try:
        asyncio.run(create_topics(Settings.model_validate({"partitions": 2}), running.settings("TLS")))
        yield running
    finally:
        running.stop()


def written(folder: Path, name: str, text: str) -> Path:
    """Replaced as a whole, as whoever renews a token does."""
    fresh = folder / f"{name}.new"
    fresh.write_text(text)
    return fresh.rename(folder / name)


def test_stages_work_by_each_kind_of_login(broker: TlsKafka, tmp_path: Path) -> None:
    """Also beyond the life of a token, if it is renewed."""
    password = written(tmp_path, "password", PASSWORD)
    file = written(tmp_path, "token", token(6))
    own = {
        "ingest": broker.variables("SCRAM", sasl_mechanism="SCRAM-SHA-512", sasl_username="me", sasl_password_file=password),
        "feedback": broker.variables("MUTUAL", **of(broker.certificates.client)),
        "learning": broker.variables("OAUTH", sasl_mechanism="OAUTHBEARER", sasl_token_file=file),
        "producers": broker.variables("TLS"),
    }
    shop = Deployment(tmp_path / "shop", broker.bootstrap_servers, "", {**SHOP, "VEILSTREAM_APP_PREFIX": "veilstream"}, own=own)
    generate_keys(shop.folder / "keys")
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(1):
            written(tmp_path, "token", token(6))

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        shop.start("ingest", "feedback", "learning")
        began = time.monotonic()
        events = shop.folder / "events.csv"
        events.write_text("ts,user,event_type,item\n" + "".join(f"{1_700_000_000 + n},u{n % 7},view,i{n % 5}\n" for n in range(50)))
        shop.command("replay", "--events", str(events), by="producers")
        wait_until(lambda: len(shop.read(BEHAVIOUR_CLEAN)) == 50, lambda: shop.log("ingest").read_text()[-2000:], every_s=0.5)
        wait_until(lambda: 'veilstream_records_total{stage="feedback"} 50.0' in shop.metrics("feedback"), "feedback has read them")
        time.sleep(max(0.0, began + 3 * SESSION_MS / 1000 - time.monotonic()))
        wait_until(lambda: shop.is_ready("learning"), lambda: shop.log("learning").read_text()[-2000:])
        assert shop.stop() == {"ingest": 0, "feedback": 0, "learning": 0}
    finally:
        stop.set()
        renewing.join()
        for stage in list(shop.processes):
            shop.kill(stage)


async def connecting(kafka: KafkaSettings) -> None:
    try:
        await (await connect_admin(kafka)).close()
    finally:
        await asyncio.sleep(0.1)  # the client does not wait for its connections to close


@pytest.mark.parametrize(
    ("listener", "change", "said"),
    [
        ("TLS", {"ssl_cafile": None}, "can't be trusted (unable to get local issuer certificate); put the certificate of the authority "),
        ("TLS", {"ssl_cafile": "strangers"}, "KAFKA_SSL_CAFILE"),
        ("EXPIRED", {}, "has expired; renew it there, or look at this machine's clock"),
        ("OTHERNAME", {}, "is not for 127.0.0.1; put a name that it is for into KAFKA_BOOTSTRAP_SERVERS"),
        ("OTHERNAME", {"bootstrap_servers": "localhost"}, "is not for localhost; put a name that it is for into KAFKA_BOOTSTRAP_SERVERS"),
        ("ELSEWHERE", {}, "is not for 127.0.0.1; put a name that it is for into KAFKA_BOOTSTRAP_SERVERS"),
        ("MUTUAL", {}, "); set KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE to one that its authorities signed"),
        ("MUTUAL", "a stranger's", "refused the client certificate ("),
        ("TLS", {"security_protocol": "PLAINTEXT"}, "speaks TLS; set KAFKA_SECURITY_PROTOCOL=SSL and KAFKA_SSL_CAFILE"),
        ("SCRAM", {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}, "speaks TLS; set KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ("TLS", {"bootstrap_servers": "plain"}, "does not speak TLS ("),
        ("SCRAM", {"sasl_username": "you"}, "refused the user you (SCRAM-SHA-512); check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD_FILE"),
        ("SCRAM", {"sasl_mechanism": "PLAIN"}, "does not take PLAIN; set KAFKA_SASL_MECHANISM to one that it has enabled"),
        ("TLS", {"security_protocol": "SASL_SSL"}, "does not ask for a login there; set KAFKA_SECURITY_PROTOCOL=SSL"),
        ("OAUTH", {"sasl_token_file": "expired"}, "expired 5 s ago; look at what renews it"),
        (
            "OAUTH",
            {"sasl_mechanism": "OAUTHBEARER", "sasl_token_file": "opaque"},
            "refused the token of KAFKA_SASL_TOKEN_FILE: it has expired",
        ),
        ("OAUTH", {"sasl_token_file": "none"}, "/none can't be read (FileNotFoundError)"),
    ],
)
def test_a_mistake_is_one_line(
    broker: TlsKafka, tmp_path: Path, listener: str, change: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"sasl_username": "me", "sasl_password_file": written(tmp_path, "password", PASSWORD)}
    written(tmp_path, "expired", token(-5))
    written(tmp_path, "opaque", "abc")
    settings |= of(broker.strangers.client) if change == "a stranger's" else change
    if settings.get("ssl_cafile") == "strangers":
        settings["ssl_cafile"] = broker.strangers.authority.cert
    servers = {"localhost": broker.at(listener, "localhost"), "plain": broker.bootstrap_servers}
    if "bootstrap_servers" in settings:
        settings["bootstrap_servers"] = servers[settings["bootstrap_servers"]]
    if "sasl_token_file" in settings:
        settings |= {"sasl_mechanism": "OAUTHBEARER", "sasl_token_file": tmp_path / settings["sasl_token_file"]}
    with pytest.raises((BrokerUnavailable, ConfigurationError)) as refusal:
        asyncio.run(connecting(broker.settings(listener, **settings)))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value) and PASSWORD not in str(refusal.value)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_worker_says_it_too(broker: TlsKafka, tmp_path: Path) -> None:
    own = {"ingest": broker.variables("OTHERNAME")}
    shop = Deployment(tmp_path / "shop", broker.bootstrap_servers, "", SHOP, own=own)
    generate_keys(shop.folder / "keys")
    shop.start("ingest", ready=False)
    assert shop.processes.pop("ingest").wait(60) == 1
    lines = [line for line in shop.log("ingest").read_text().splitlines() if "VEILSTREAM_DATA" not in line]
    assert len(lines) == 1 and "is not for 127.0.0.1; put a name that it is for into KAFKA_BOOTSTRAP_SERVERS" in lines[0]
