"""What a connection to the brokers proves, and whether it is encrypted: passwords and certificates of the settings."""

from __future__ import annotations

import logging
import re
import ssl
from functools import cache

from streams.errors import ConfigurationError
from streams.files import check_trusted, read_trusted
from streams.settings import KafkaSettings

log = logging.getLogger(__name__)

_MAX_PASSWORD = 65_536
_HERE = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


def sasl_password(kafka: KafkaSettings) -> str:
    """The first line of KAFKA_SASL_PASSWORD_FILE."""
    if kafka.sasl_username is None or kafka.sasl_password_file is None:
        raise ConfigurationError(f"{kafka.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD_FILE")
    try:
        return read_trusted(kafka.sasl_password_file, _MAX_PASSWORD, "KAFKA_SASL_PASSWORD_FILE").decode("utf-8").splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"KAFKA_SASL_PASSWORD_FILE={kafka.sasl_password_file} can't be read ({type(error).__name__})") from None


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Verifies the broker; carries a client certificate where one is set. Raises ConfigurationError for a file that can't be used, or that
    others may write."""
    try:
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if (path := getattr(kafka, name)) is not None:
                check_trusted(path, f"KAFKA_{name.upper()}")
        context = ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
        if kafka.ssl_certfile is not None:
            # A password, else OpenSSL would ask for one at the terminal and wait.
            context.load_cert_chain(str(kafka.ssl_certfile), str(kafka.ssl_keyfile) if kafka.ssl_keyfile else None, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the TLS files of KAFKA_SSL_… can't be used ({type(error).__name__}: {error.strerror})") from None
    return context


def in_clear(kafka: KafkaSettings) -> str | None:
    """What travels unencrypted beyond this machine, and what to set; None if nothing does.

    >>> in_clear(KafkaSettings(bootstrap_servers="localhost:9092", security_protocol="PLAINTEXT"))
    """
    if "SSL" in kafka.security_protocol or all(_HERE.fullmatch(address.strip()) for address in kafka.bootstrap_servers.split(",")):
        return None
    if kafka.security_protocol == "PLAINTEXT":
        return "every record travels unencrypted to the brokers (PLAINTEXT); set KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL"
    mechanism = kafka.sasl_mechanism
    what = {"PLAIN": "the password and every record travel", "OAUTHBEARER": "the token and every record travel"}
    return (
        f"{what.get(mechanism, 'every record travels')} unencrypted to the brokers (SASL_PLAINTEXT with {mechanism}); "
        "set KAFKA_SECURITY_PROTOCOL=SASL_SSL"
    )


def say_in_clear(kafka: KafkaSettings) -> None:
    """Log it, once a process: clients are many."""
    text = in_clear(kafka)
    if text is not None:
        _say(text)


@cache
def _say(text: str) -> None:
    log.warning("%s", text)
