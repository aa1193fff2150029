"""Apache Kafka with a listener for each kind of TLS and login; certificates of its own authority."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streams.settings import KafkaSettings
from tests.support.apache_kafka import ApacheKafka, _free_port
from tests.support.certificates import Certificates, Pair

LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "SCRAM": "SASL_SSL",
    "OAUTH": "SASL_SSL",
    "EXPIRED": "SSL",
    "OTHERNAME": "SSL",
    "ELSEWHERE": "SSL",
}
"""By name: the security protocol. The listener that the broker has anyway stays, in plain text."""
PASSWORD = "scrambled"
SESSION_MS = 4000
"""After so long the broker wants a new token, or ends the connection."""


class TlsKafka(ApacheKafka):
    """The user of SCRAM is "me". Tokens are not signed."""

    def __init__(self, folder: Path) -> None:
        self.certificates = Certificates(folder / "certificates")
        self.strangers = Certificates(folder / "strangers")
        self.ports = {name: _free_port() for name in LISTENERS}
        super().__init__(folder / "kafka")

    def _format_options(self) -> Sequence[str]:
        return ("--add-scram", f"SCRAM-SHA-512=[name=me,password={PASSWORD}]")

    def _write_config(self) -> None:
        super()._write_config()
        text = self._config.read_text()
        # The last one sends its clients to the listener with the wrong name.
        told = {**self.ports, "ELSEWHERE": self.ports["OTHERNAME"]}
        for key, ports in (("listeners", self.ports), ("advertised.listeners", told)):
            more = "".join(f",{name}://127.0.0.1:{port}" for name, port in ports.items())
            text = text.replace(f"\n{key}=PLAINTEXT://127.0.0.1:{self._port}", f"\n{key}=PLAINTEXT://127.0.0.1:{self._port}{more}")
        more = "".join(f",{name}:{protocol}" for name, protocol in LISTENERS.items())
        text = text.replace("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT", f"CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{more}")
        made = self.certificates
        own = {
            "expired": made.issue_expired("expired", "subjectAltName=IP:127.0.0.1"),
            "othername": made.issue("othername", "subjectAltName=DNS:broker.example"),
        }
        for name in map(str.lower, LISTENERS):
            text += f"""listener.name.{name}.ssl.keystore.type=PEM
listener.name.{name}.ssl.keystore.location={made.together(name, own.get(name, made.server))}
listener.name.{name}.ssl.truststore.type=PEM
listener.name.{name}.ssl.truststore.location={made.authority.cert}
"""
        modules = "org.apache.kafka.common.security"
        text += f"""listener.name.mutual.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config={modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="b";
listener.name.oauth.oauthbearer.connections.max.reauth.ms={SESSION_MS}
inter.broker.listener.name=PLAINTEXT
"""
        self._config.write_text(text)

    def at(self, listener: str, host: str = "127.0.0.1") -> str:
        return f"{host}:{self.ports[listener]}"

    def variables(self, listener: str, **settings: Any) -> dict[str, str]:
        """The environment of a client of a listener, with the authority's certificate and what else is given."""
        given = {
            "bootstrap_servers": self.at(listener),
            "security_protocol": LISTENERS[listener],
            "ssl_cafile": self.certificates.authority.cert,
        }
        return {f"KAFKA_{name.upper()}": str(value) for name, value in {**given, **settings}.items() if value is not None}

    def settings(self, listener: str, **settings: Any) -> KafkaSettings:
        variables = self.variables(listener, **settings)
        return KafkaSettings.model_validate({name.removeprefix("KAFKA_").lower(): value for name, value in variables.items()})


def of(pair: Pair) -> dict[str, Any]:
    """A client certificate as settings."""
    return {"ssl_certfile": pair.cert, "ssl_keyfile": pair.key}


def token(life_s: float, subject: str = "me") -> str:
    """A JSON Web Token without a signature, which the broker takes."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now - 60, "exp": now + life_s})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."
