"""Apache Kafka that asks an authorizer: whoever has no right may nothing. One user a role, with SASL/PLAIN; "admin" may everything."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from streams.access.rights import ROLES, Right
from streams.settings import KafkaSettings
from tests.support.apache_kafka import ApacheKafka

ADMIN = "admin"
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_LITERAL, _PREFIXED = 3, 4
_OPERATIONS = {
    "Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12,
}  # fmt: skip
_ALLOW = 3
ANY = 1
"""In place of a kind, an operation or a pattern."""


class RightsKafka(ApacheKafka):
    """Users are the roles and ``ADMIN``; each one's password is its name turned around."""

    def _write_config(self) -> None:
        super()._write_config()
        users = " ".join(f'user_{name}="{name[::-1]}"' for name in (*ROLES, ADMIN))
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        text = self._config.read_text()
        # The broker speaks to its controller as nobody, on a port of its own.
        text = text.replace(f"PLAINTEXT://127.0.0.1:{self._port}", f"SASL_PLAINTEXT://127.0.0.1:{self._port}")
        text = text.replace("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT")
        text += f"""inter.broker.listener.name=SASL_PLAINTEXT
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={login} username="{ADMIN}" password="{ADMIN[::-1]}" {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{ADMIN};User:ANONYMOUS
"""
        self._config.write_text(text)

    def credentials(self, user: str, folder: Path) -> Mapping[str, str]:
        """Settings of Kafka for a user, its password in a file of the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{user}.password"
        file.write_text(user[::-1] + "\n")
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD_FILE": str(file),
        }

    def settings(self, user: str, folder: Path) -> KafkaSettings:
        """The same as settings."""
        given = self.credentials(user, folder)
        return KafkaSettings.model_validate({name.removeprefix("KAFKA_").lower(): value for name, value in given.items()})

    def shell(self, script: str, folder: Path) -> subprocess.Popen[str]:
        """Begin a script that may use kafka-acls.sh, and admin.properties with the credentials of ``ADMIN``."""
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        properties = f"""security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config={login} username="{ADMIN}" password="{ADMIN[::-1]}";
"""
        (folder / "admin.properties").write_text(properties)
        tool = folder / "kafka-acls.sh"
        command = shlex.join(self._command("org.apache.kafka.tools.AclCommand"))
        tool.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        tool.chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        return subprocess.Popen(
            ["sh", "-e", "-c", script], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


@asynccontextmanager
async def administrator(kafka: RightsKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that may everything."""
    client = AIOKafkaAdminClient(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=ADMIN,
        sasl_plain_password=ADMIN[::-1],
    )
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def encoded(right: Right) -> tuple[str, int, int, int]:
    """Name, kind of resource, operation and pattern, as the protocol has them."""
    return right.name, _RESOURCES[right.resource], _OPERATIONS[right.operation], _PREFIXED if right.is_prefix else _LITERAL


async def grant(client: AIOKafkaAdminClient, user: str, rights: Iterable[Right]) -> None:
    for right in rights:
        name, kind, operation, pattern = encoded(right)
        answer = await client._send_request(CreateAclsRequest(kind, name, pattern, f"User:{user}", "*", operation, _ALLOW))
        assert [error for error, *_ in answer.creation_responses] == [0], answer


async def revoke(client: AIOKafkaAdminClient, user: str, rights: Iterable[Right]) -> None:
    for right in rights:
        name, kind, operation, pattern = encoded(right)
        answer = await client._send_request(DeleteAclsRequest(kind, name, pattern, f"User:{user}", "*", operation, _ALLOW))
        assert [(error, len(matched)) for error, _, matched in answer.filter_responses] == [(0, 1)], answer
