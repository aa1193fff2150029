"""Asks the broker what the credentials of a process may do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.admin import CreateTopicsRequest, ListGroupsRequest

from streams.access.comparing import Granted, Where, missing, together
from streams.access.requests import GroupRightsRequest, TopicRightsRequest, operations_in
from streams.access.rights import CLUSTER, Right
from streams.errors import AccessDenied, TransientError
from streams.kafka.clients import client_config, hushed, need_broker
from streams.settings import KafkaSettings

_ANSWER_S = 20.0
_TIMEOUT_MS = 10_000
_TOPIC_REFUSED, _GROUP_REFUSED = 29, 30
_WOULD_CREATE = (0, 36, 37, 38, 44)
"""Nothing is wrong, it exists, or something is wrong with its partitions, its replication or by the broker's policy: rights come first."""
_TOO_OLD = (NotImplementedError, IncompatibleBrokerVersion)


class Rights:
    """What a role needs, and whether the credentials of this process have it. Each question opens a connection of its own."""

    def __init__(self, kafka: KafkaSettings, role: str, needed: Sequence[Right]) -> None:
        self._kafka = kafka
        self._role = role
        self._needed = tuple(needed)

    async def refusal(self) -> AccessDenied | None:
        """What is missing, as an error to end with; None if nothing is, or the broker does not tell. Raises TransientError if it does not
        answer."""
        if not self._needed:
            return None
        lacking = missing(self._needed, await granted(self._kafka, self._needed))
        return AccessDenied(together(lacking), self._role) if lacking else None


async def granted(kafka: KafkaSettings, needed: Iterable[Right], *, everything: bool = False) -> Granted:
    """What the broker tells of the resources that these rights are about; with ``everything`` also of all others that may be seen. Raises
    TransientError if it does not answer."""
    client = AIOKafkaClient(**client_config(kafka), client_id="veilstream-access", request_timeout_ms=_TIMEOUT_MS)
    try:
        async with asyncio.timeout(_ANSWER_S):
            with hushed():
                await client.bootstrap()
                await need_broker(client)
            return await _Asking(client, needed).all(everything=everything)
    except (KafkaError, OSError) as error:
        raise TransientError(f"asking the broker for rights failed ({type(error).__name__})") from error
    finally:
        await client.close()


class _Asking:
    def __init__(self, client: AIOKafkaClient, needed: Iterable[Right]) -> None:
        self._client = client
        self._needed = [right for right in needed if not right.is_prefix]
        self._found: dict[Where, frozenset[str]] = {}
        self._unseen: set[Right] = set()
        self._tells = False
        """Whether the broker tells rights at all: others may not know that a topic is not to be made, and make it."""

    async def all(self, *, everything: bool) -> Granted:
        await self._topics(everything=everything)
        await self._creating()
        await self._groups(everything=everything)
        # Whether a cluster's rights are none or not to be seen is not told: seeing them needs a right of its own.
        if ("cluster", CLUSTER) not in self._found:
            self._hide("cluster", CLUSTER)
        return Granted(self._found, frozenset(self._unseen))

    def _names(self, resource: str) -> list[str]:
        return sorted({right.name for right in self._needed if right.resource == resource})

    def _hide(self, resource: str, name: str) -> None:
        """The broker tells nothing of it."""
        self._unseen |= {right for right in self._needed if (right.resource, right.name) == (resource, name)}

    async def _topics(self, *, everything: bool) -> None:
        names = self._names("topic")
        # Without names it would be asked for all of them.
        wanted = ([names] if names else []) + ([None] if everything else [])
        for asked in wanted:
            try:
                answer = await self._client.send(self._any_node(), TopicRightsRequest(asked))
            except _TOO_OLD:
                for name in names:
                    self._hide("topic", name)
                return
            for error, name, _, _, bits in answer.topics:
                operations = operations_in(bits)
                if error == _TOPIC_REFUSED:
                    continue
                if error or operations is None:
                    self._hide("topic", name)  # it does not exist, or has no leader now
                else:
                    self._found[("topic", name)] = operations
            operations = operations_in(answer.operations)
            self._tells = operations is not None
            if operations:
                self._found[("cluster", CLUSTER)] = operations

    async def _creating(self) -> None:
        """The right to make a topic may be one of the cluster, and that of a topic which is not there shows nowhere: so it is tried, and
        nothing made."""
        wanted = {r.name: r for r in self._needed if r.operation == "Create" and "Create" not in self._found.get((r.resource, r.name), ())}
        if not wanted or not self._tells:
            self._unseen |= set(wanted.values())
            return
        topics: list[tuple[str, int, int, list[Any], list[Any]]] = [(name, 1, 1, [], []) for name in wanted]
        answer = await self._client.send(self._controller(), CreateTopicsRequest(topics, _TIMEOUT_MS, True))
        for name, error, *_ in answer.topic_errors:
            self._unseen.discard(wanted[name])
            if error in _WOULD_CREATE:
                self._found[("topic", name)] = self._found.get(("topic", name), frozenset()) | {"Create"}
            elif error != _TOPIC_REFUSED:
                self._unseen.add(wanted[name])

    async def _groups(self, *, everything: bool) -> None:
        names = set(self._names("group"))
        if everything:
            for broker in self._client.cluster.brokers():
                listed = await self._client.send(broker.nodeId, ListGroupsRequest())
                names |= {name for name, *_ in listed.groups}
        for name in sorted(names):
            await self._group(name)

    async def _group(self, name: str) -> None:
        try:
            coordinator = await self._client.coordinator_lookup(0, name)
            answer = await self._client.send(coordinator, GroupRightsRequest([name]))
        except GroupAuthorizationFailedError:
            return
        except (KafkaError, *_TOO_OLD):
            self._hide("group", name)  # an old broker, or a fresh one that is still making its offsets topic
            return
        error, *_, bits = answer.groups[0]
        operations = operations_in(bits)
        if error == _GROUP_REFUSED:
            return
        if error or operations is None:
            self._hide("group", name)
        else:
            self._found[("group", name)] = operations

    def _any_node(self) -> Any:
        return next((broker.nodeId for broker in self._client.cluster.brokers()), "bootstrap")

    def _controller(self) -> Any:
        controller = self._client.cluster.controller
        return self._any_node() if controller is None else controller.nodeId
