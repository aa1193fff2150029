"""Settings to client arguments; every wrong one is named."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streams.errors import BrokerUnavailable, ConfigurationError
from streams.kafka.clients import client_config, connect_admin, need_topic, quiet_client_loggers
from streams.kafka.security import _say
from streams.settings import KafkaSettings


def kafka(**settings: Any) -> KafkaSettings:
    return KafkaSettings.model_validate(settings)


def test_plaintext() -> None:
    assert client_config(kafka(bootstrap_servers="a:1,b")) == {"bootstrap_servers": "a:1,b", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("address", ["localhost:9092", "a:1, b:2", "[::1]:9092", "10.0.0.1", "broker-0.kafka.svc:9093"])
def test_addresses(address: str) -> None:
    client_config(kafka(bootstrap_servers=address))


@pytest.mark.parametrize("address", ["", "a:b", "a:0", "a:65536", "a:1,", "http://a:1", "a b:1", "a:1;b:2", "::1:9092"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        client_config(kafka(bootstrap_servers=address))


def test_sasl_reads_the_password_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    config = client_config(kafka(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=file))
    assert config["sasl_plain_password"] == "hunter2" and config["sasl_mechanism"] == "SCRAM-SHA-512"


def test_a_password_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match=r"KAFKA_SASL_PASSWORD_FILE .*may be written by others: chmod go-w it"):
        client_config(kafka(security_protocol="SASL_SSL", sasl_username="me", sasl_password_file=file))


@pytest.mark.parametrize("name", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
def test_tls_files_that_others_may_write_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "pem"
    file.write_text("")
    file.chmod(0o602)
    with pytest.raises(ConfigurationError, match=f"KAFKA_{name.upper()} .*may be written by others"):
        client_config(kafka(security_protocol="SSL", **{name: file}))


@pytest.mark.parametrize(
    ("servers", "mechanism", "said"),
    [
        ("broker.shop:9092", "PLAIN", "the password and every record travel unencrypted"),
        ("localhost:9092,10.0.0.1:9092", "SCRAM-SHA-256", "every record travels unencrypted"),
        ("localhost:9092, 127.0.0.1,[::1]:9093", "PLAIN", None),
        ("localhost.shop:9092", "PLAIN", "the password and every record travel unencrypted"),
    ],
)
def test_a_password_without_tls_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, servers: str, mechanism: str, said: str | None
) -> None:
    _say.cache_clear()
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    settings = {"bootstrap_servers": servers, "sasl_mechanism": mechanism, "sasl_username": "me", "sasl_password_file": file}
    for _ in range(2):
        client_config(kafka(security_protocol="SASL_PLAINTEXT", **settings))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (0 if said is None else 1) and (said is None or said in messages[0])
    caplog.clear()
    client_config(kafka(security_protocol="SASL_SSL", **settings))
    assert caplog.records == []


def test_records_without_tls_are_said(caplog: pytest.LogCaptureFixture) -> None:
    _say.cache_clear()
    for _ in range(2):
        client_config(kafka(bootstrap_servers="broker.shop:9092"))
    client_config(kafka(bootstrap_servers="127.0.0.1:9092,localhost:9093"))
    assert [record.getMessage() for record in caplog.records] == [
        "every record travels unencrypted to the brokers (PLAINTEXT); set KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL"
    ]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff"])
def test_a_password_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="KAFKA_SASL_PASSWORD_FILE"):
        client_config(kafka(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=file))


def test_sasl_without_a_user() -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_SASL_USERNAME"):
        client_config(kafka(security_protocol="SASL_SSL"))


def test_tls_verifies_the_broker() -> None:
    context = client_config(kafka(security_protocol="SSL"))["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_client_certificate_whose_key_wants_a_password_asks_nobody(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=test", "-days", "1", "-keyout", str(key), "-out", str(certificate), "-passout", "pass:secret"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject], check=True, capture_output=True)
    with pytest.raises(ConfigurationError, match="TLS files"):
        client_config(kafka(security_protocol="SSL", ssl_certfile=certificate, ssl_keyfile=key))


def test_missing_tls_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TLS files"):
        client_config(kafka(security_protocol="SSL", ssl_cafile=tmp_path / "none.pem"))


def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 .*KAFKA_BOOTSTRAP_SERVERS"):
        asyncio.run(connect_admin(kafka(bootstrap_servers="127.0.0.1:1")))
    assert caplog.records == [], "the error says it; the client's tries are not logged beside it"
    with pytest.raises(BrokerUnavailable):
        asyncio.run(need_topic(kafka(bootstrap_servers="127.0.0.1:1"), "t"))


@pytest.fixture
def levels() -> Any:
    names = ("aiokafka", "aiokafka.producer.producer", "kafka", "faust")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_client_libraries_stay_silent_about_values(levels: None) -> None:
    logging.getLogger("aiokafka").setLevel(logging.DEBUG)
    quiet_client_loggers()
    for name in ("aiokafka", "aiokafka.producer.producer", "kafka", "faust"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
