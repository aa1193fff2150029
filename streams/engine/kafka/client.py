"""A connection to the brokers: finds leaders, sends requests, and turns all failures into TransientError."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.structs import TopicPartition

from streams.engine.kafka.topic_ids import TopicIdsRequest
from streams.errors import TransientError
from streams.kafka.clients import hushed, need_broker

log = logging.getLogger(__name__)


class BrokerClient:
    """One connection per broker. A request that waits at the broker (a fetch) delays the requests behind it. So callers that must not
    wait have their own client.
    """

    def __init__(self, config: Mapping[str, Any], *, request_timeout_ms: int = 30_000) -> None:
        self._config = dict(config)
        self._timeout_ms = request_timeout_ms
        self._client: AIOKafkaClient | None = None
        self._has_topic_ids = True

    async def start(self) -> None:
        """Connect. Raises aiokafka's KafkaConnectionError if no broker answers."""
        client = AIOKafkaClient(**self._config, client_id="veilstream", request_timeout_ms=self._timeout_ms, metadata_max_age_ms=60_000)
        try:
            with hushed():
                await client.bootstrap()
                await need_broker(client)
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def stop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    @property
    def _kafka(self) -> AIOKafkaClient:
        if self._client is None:
            raise TransientError("the connection to the broker is closed")
        return self._client

    async def partitions(self, topic: str) -> int:
        """Partitions of a topic. Raises TransientError while the broker does not know it."""
        kafka = self._kafka
        found = kafka.cluster.partitions_for_topic(topic)
        if not found:
            await self._refresh(topic)
            found = kafka.cluster.partitions_for_topic(topic)
        if not found:
            raise TransientError(f"topic {topic} is missing, or may not be read with these credentials; run `veilstream topics create`")
        return len(found)

    async def leader(self, topic: str, partition: int) -> int:
        """The broker that leads a partition. Raises TransientError if none does."""
        node = self._known_leader(topic, partition)
        if node is None:
            await self._refresh(topic)
            node = self._known_leader(topic, partition)
        if node is None:
            raise TransientError(f"{topic}/{partition} has no leader at the moment")
        return node

    def _known_leader(self, topic: str, partition: int) -> int | None:
        node = self._kafka.cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if node is None or node < 0 else int(node)

    async def _refresh(self, topic: str) -> None:
        kafka = self._kafka
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                if topic not in kafka._topics:
                    await kafka.add_topic(topic)
                else:
                    await kafka.force_metadata_update()
        except (KafkaError, OSError) as error:
            raise TransientError(f"reading about topic {topic} failed ({type(error).__name__})") from error

    def leaders_changed(self) -> None:
        """What is known of leaders is old: ask again, without waiting for it."""
        if self._client is not None:
            self._client.force_metadata_update()

    async def connect(self, node: int) -> None:
        """Returns when requests to the broker go out at once. Raises TransientError."""
        try:
            if not await self._kafka.ready(node):
                raise TransientError(f"broker {node} can't be reached")
        except (KafkaError, OSError) as error:
            raise TransientError(f"broker {node} can't be reached ({type(error).__name__})") from error

    async def send(self, node: int, request: Any) -> Any:
        """The answer. Raises TransientError if none came; the broker may have executed the request nevertheless."""
        try:
            return await self._kafka.send(node, request)
        except (KafkaError, OSError) as error:
            raise TransientError(f"broker {node} did not answer ({type(error).__name__})") from error

    async def coordinator(self, group: str) -> int:
        """The broker that coordinates a group, made reachable. Raises TransientError."""
        try:
            return int(await self._kafka.coordinator_lookup(0, group))
        except (KafkaError, OSError) as error:
            raise TransientError(f"the group's coordinator is not known ({type(error).__name__})") from error

    def any_node(self) -> int:
        node = self._kafka.get_random_node()
        if node is None:
            raise TransientError("no broker is known")
        return int(node)

    async def topic_id(self, topic: str) -> bytes:
        """The 16 bytes that distinguish a topic from an earlier one of the same name. Zeros if the broker has no such ids."""
        if not self._has_topic_ids:
            return bytes(16)
        try:
            answer = await self.send(self.any_node(), TopicIdsRequest(topic))
        except NotImplementedError:
            self._has_topic_ids = False
            return bytes(16)
        for error, name, identity, *_ in answer.topics:
            if name == topic and not error:
                return bytes(identity)
        raise TransientError(f"topic {topic} is missing at the moment")


def name_of(error: int) -> str:
    """An error code by name."""
    return str(getattr(for_code(error), "__name__", error))
