"""Rights as Strimzi's KafkaUser resources, for Kubernetes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import yaml

from streams.access.acls import grants
from streams.access.rights import Right
from streams.errors import ConfigurationError

Authentication = Literal["tls", "scram-sha-512"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def kafka_user(principal: str, role: str, rights: Iterable[Right], *, cluster: str, authentication: Authentication) -> dict[str, Any]:
    """One KafkaUser. Strimzi's operator makes its password or certificate, in a Secret of the same name, and its rights.

    Raises ConfigurationError for a principal whose name can't be a resource's.
    """
    name = principal.partition(":")[2].removeprefix("CN=")
    if not principal.startswith("User:") or not _NAME.fullmatch(name) or len(name) > 253:
        raise ConfigurationError(
            f"{principal} can't be a KafkaUser: its name must be User: and small letters, digits, dots and dashes; set --principal"
        )
    rules = [
        {
            "resource": {"type": grant.resource}
            if grant.resource == "cluster"
            else {"type": grant.resource, "name": one, "patternType": "prefix" if grant.is_prefix else "literal"},
            "operations": list(grant.operations),
        }
        for grant in grants(rights)
        for one in grant.names
    ]
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {
            "name": name,
            "labels": {"strimzi.io/cluster": cluster, "app.kubernetes.io/part-of": "veilstream", "app.kubernetes.io/component": role},
        },
        "spec": {"authentication": {"type": authentication}, "authorization": {"type": "simple", "acls": rules}},
    }


def manifests(by_role: Iterable[tuple[str, Sequence[str], Sequence[Right]]], *, cluster: str, authentication: Authentication) -> str:
    """YAML documents, one a principal. Raises as ``kafka_user``."""
    users = [
        kafka_user(principal, role, rights, cluster=cluster, authentication=authentication)
        for role, principals, rights in by_role
        for principal in principals
    ]
    return str(yaml.safe_dump_all(users, sort_keys=False, explicit_start=True, width=120))
