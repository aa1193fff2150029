"""The outputs' link to the brokers: one request a broker carries the batches of many partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from streams.engine.kafka.batches import encode_rows
from streams.engine.kafka.client import BrokerClient, name_of
from streams.engine.outputs import LINK_LOST, Answer, Row, Where
from streams.errors import NotOwner, TransientError

_LEADER_ELSEWHERE = frozenset({3, 5, 6, 9, 74, 76})
"""UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER, REPLICA_NOT_AVAILABLE, FENCED_ and UNKNOWN_LEADER_EPOCH."""
_ACKS_ALL = -1


class KafkaProduceLink:
    """A ProduceLink."""

    def __init__(self, client: BrokerClient, *, idempotent: bool, timeout_ms: int = 30_000) -> None:
        self._client = client
        self._idempotent = idempotent
        self._timeout_ms = timeout_ms

    async def partition_count(self, topic: str) -> int:
        return await self._client.partitions(topic)

    async def warm_up(self, topic: str) -> None:
        for node in {await self._client.leader(topic, p) for p in range(await self._client.partitions(topic))}:
            await self._client.connect(node)

    async def new_producer(self) -> tuple[int, int]:
        if not self._idempotent:
            return (-1, -1)
        answer = await self._client.send(self._client.any_node(), InitProducerIdRequest(None, self._timeout_ms))
        if answer.error_code:
            raise TransientError(f"the broker gave no producer id ({name_of(answer.error_code)})")
        return (int(answer.producer_id), int(answer.producer_epoch))

    def encode(self, rows: Sequence[Row], producer: tuple[int, int], sequence: int) -> bytes:
        return encode_rows(rows, producer, sequence, time.time_ns() // 1_000_000)

    async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
        answers: dict[Where, Answer] = {}
        by_node: dict[int, dict[Where, bytes]] = {}
        for where, payload in batches.items():
            try:
                by_node.setdefault(await self._client.leader(*where), {})[where] = payload
            except TransientError:
                answers[where] = Answer(LINK_LOST, -1)
        requests = [self._send(node, mine, fences) for node, mine in by_node.items()]
        if len(requests) == 1:
            answers.update(await requests[0])
            return answers
        refusal: BaseException | None = None
        for found in await asyncio.gather(*requests, return_exceptions=True):
            if isinstance(found, BaseException):
                refusal = found
            else:
                answers.update(found)
        if refusal is not None:
            raise refusal
        return answers

    async def _send(self, node: int, batches: Mapping[Where, bytes], fences: Sequence[Callable[[], None]]) -> dict[Where, Answer]:
        by_topic: dict[str, list[tuple[int, bytes]]] = {}
        for (topic, partition), payload in batches.items():
            by_topic.setdefault(topic, []).append((partition, payload))
        request = ProduceRequest(None, _ACKS_ALL, self._timeout_ms, list(by_topic.items()))
        try:
            await self._client.connect(node)
            for fence in fences:
                fence()  # nothing waits between here and the socket
            response = await self._client.send(node, request)
        except TransientError as error:
            if isinstance(error, NotOwner):
                raise
            self._client.leaders_changed()
            return dict.fromkeys(batches, Answer(LINK_LOST, -1))
        answers: dict[Where, Answer] = {}
        for topic, partitions in response.topics:
            for partition, error_code, offset, *_ in partitions:
                answers[(topic, partition)] = Answer(error_code, offset)
                if error_code in _LEADER_ELSEWHERE:
                    self._client.leaders_changed()
        return {where: answers.get(where, Answer(LINK_LOST, -1)) for where in batches}

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
