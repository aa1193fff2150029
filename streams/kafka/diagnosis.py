"""Why no connection comes about. The client tells no more than that; so each address is tried once by itself, and looked at."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka.tokens import NoTokenError
from streams.settings import KafkaSettings

_TRY_S = 5.0
_EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 10, 62, 64
"""OpenSSL's reasons why a certificate is refused (X509_V_ERR_…)."""
_OWN_CERTIFICATE = (
    *("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "CERTIFICATE_EXPIRED", "HANDSHAKE_FAILURE"),
    *("ACCESS_DENIED", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED"),
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_EOF")
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, 0)
"""A request that every broker answers: version 0 of ApiVersions, with an empty name of the client."""
_ALERT = 0x15
"""The first byte of what a TLS server says to who does not speak it."""
_FIRST = 5
"""Bytes of an answer that tell what has answered."""


Address = tuple[str, int]


async def why_not_connected(kafka: KafkaSettings, config: Mapping[str, Any]) -> str | None:
    """One line that names the fix: of the first address that answers and still can't be used, or that sends its clients to one that can't
    be. None if none answers, or all is well."""
    named = [_address(text.strip()) for text in kafka.bootstrap_servers.split(",")]
    told: dict[Address, Address] = {}
    for address in named:
        try:
            async with asyncio.timeout(_TRY_S):
                why = await _of_transport(kafka, *address, config.get("ssl_context"))
                if why is None:
                    why, brokers = await _of_login(kafka, *address, config)
                    told |= dict.fromkeys(brokers, address)
        except (TimeoutError, OSError):
            continue
        if why is not None:
            return why
    for broker in told.keys() - set(named):
        try:
            async with asyncio.timeout(_TRY_S):
                why = await _of_transport(kafka, *broker, config.get("ssl_context"))
        except (TimeoutError, OSError):
            (host, port), (of, its_port) = broker, told[broker]
            why = (
                f"the broker at {of}:{its_port} sends its clients to {host}:{port}, which can't be reached; see advertised.listeners there"
            )
        if why is not None:
            return why
    return None


def _address(text: str) -> Address:
    """
    >>> _address("[::1]:9093"), _address("kafka.shop")
    (('::1', 9093), ('kafka.shop', 9092))
    """
    host, separator, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    return (host if separator else text).strip("[]"), int(port) if separator else 9092


async def _of_transport(kafka: KafkaSettings, host: str, port: int, context: ssl.SSLContext | None) -> str | None:
    at = f"the broker at {host}:{port}"
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return _of_tls(at, host, error)
    except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError) as error:
        return _no_tls(at, type(error).__name__) if context is not None else None
    try:
        # In TLS 1.3 a refused client certificate shows when something is read.
        writer.write(_API_VERSIONS)
        await writer.drain()
        first = await reader.read(_FIRST)
    except ssl.SSLError as error:
        return _of_tls(at, host, error)
    except ConnectionError:
        first = b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if context is None and first and first[0] == _ALERT:
        tls = "SASL_SSL" if kafka.security_protocol.startswith("SASL") else "SSL"
        return f"{at} speaks TLS; set KAFKA_SECURITY_PROTOCOL={tls} and KAFKA_SSL_CAFILE, or use the port of its other listener"
    if first and first[0] != 0:  # the answer of a broker begins with its length, which is less than 16 MiB
        what = "speaks HTTP" if first.startswith((b"HTTP/", b"<")) else "does not speak Kafka's protocol"
        return f"what answers at {host}:{port} {what} and is no broker; set KAFKA_BOOTSTRAP_SERVERS to the port of a listener of Kafka"
    return None


def _of_tls(at: str, host: str, error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return f"the certificate of {at.removeprefix('the ')} has expired; renew it there, or look at this machine's clock"
        if error.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
            return (
                f"the certificate of {at.removeprefix('the ')} is not for {host}; put a name that it is for into KAFKA_BOOTSTRAP_SERVERS, "
                f"or {host} into the certificate (subjectAltName)"
            )
        return (
            f"the certificate of {at.removeprefix('the ')} can't be trusted ({error.verify_message}); put the certificate of the authority "
            "that signed it into the file of KAFKA_SSL_CAFILE"
        )
    why = error.reason or ""
    if any(word in why for word in _NO_TLS):
        return _no_tls(at, why)
    if any(word in why for word in _OWN_CERTIFICATE):
        return (
            f"{at} refused the client certificate ({why}); set KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE to one that its authorities signed "
            "and that has not expired"
        )
    return f"TLS with {at} fails ({why or type(error).__name__}); check the KAFKA_SSL_… settings"


def _no_tls(at: str, why: str) -> str:
    return f"{at} does not speak TLS ({why}); use the port of its TLS listener, or set KAFKA_SECURITY_PROTOCOL to that of this one"


async def _of_login(kafka: KafkaSettings, host: str, port: int, config: Mapping[str, Any]) -> tuple[str | None, list[Address]]:
    """And the addresses of the brokers, where the login succeeds."""
    own = {name: value for name, value in config.items() if name != "bootstrap_servers"}
    at, mechanism = f"the broker at {host}:{port}", kafka.sasl_mechanism
    has_token = kafka.security_protocol.startswith("SASL") and mechanism == "OAUTHBEARER"
    brokers: list[Address] = []
    try:
        connection = await create_conn(host, port, request_timeout_ms=round(_TRY_S * 1000), **own)
        try:
            brokers = [(str(name), int(its_port)) for _, name, its_port, *_ in (await connection.send(MetadataRequest([]))).brokers]
        finally:
            connection.close()
    except UnsupportedSaslMechanismError:
        return f"{at} does not take {mechanism}; set KAFKA_SASL_MECHANISM to one that it has enabled", brokers
    except IllegalSaslStateError:
        plain = kafka.security_protocol.removeprefix("SASL_")
        return f"{at} does not ask for a login there; set KAFKA_SECURITY_PROTOCOL={plain}, or use the port of its SASL listener", brokers
    except SaslAuthenticationFailed:
        if has_token:
            return _of_token(at, kafka), brokers
        user = f"the user {kafka.sasl_username} ({mechanism})"
        return f"{at} refused {user}; check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD_FILE", brokers
    except NoTokenError as error:
        return str(error.args[0]), brokers
    except KafkaError:
        return _of_token(at, kafka) if has_token else None, brokers
    # The client takes a broker's refusal of a token for a welcome; then its next answer is empty.
    return _of_token(at, kafka) if has_token and not brokers else None, brokers


def _of_token(at: str, kafka: KafkaSettings) -> str:
    where = "KAFKA_SASL_TOKEN_FILE" if kafka.sasl_token_file is not None else "KAFKA_SASL_TOKEN_URL"
    return f"{at} refused the token of {where}: it has expired there, or is of another issuer, audience or scope"
