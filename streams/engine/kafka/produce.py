"""Sends outputs to the brokers: one request per broker carries the batches of many partitions.

Records for a broker wait while a request to it is in progress. Then they go together in the next request. The broker answers the
requests of a connection one after another, so this costs no time. The busier a stage is, the fewer requests it needs per record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from streams.engine.kafka.batches import encode_rows
from streams.engine.kafka.client import BrokerClient, name_of
from streams.engine.outputs import LINK_LOST, Answer, Row, Where
from streams.errors import TransientError

log = logging.getLogger(__name__)

_LEADER_ELSEWHERE = frozenset({3, 5, 6, 9, 74, 76})
"""UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER, REPLICA_NOT_AVAILABLE, FENCED_ and UNKNOWN_LEADER_EPOCH."""
_ACKS_ALL = -1
_REQUEST_BYTES = 8 * 1_048_576
"""A request takes in what waits up to this size; a broker's own limit is 100 MiB (socket.request.max.bytes)."""


@dataclass(slots=True)
class _Write:
    """What one ``produce`` sends to one broker."""

    batches: Mapping[Where, bytes]
    fences: Sequence[Callable[[], None]]
    answers: asyncio.Future[dict[Where, Answer]]


class KafkaProduceLink:
    """A ProduceLink."""

    def __init__(self, client: BrokerClient, *, idempotent: bool, timeout_ms: int = 30_000, timestamp_step_ms: int = 1) -> None:
        """Records have the time at which they are written, rounded down to ``timestamp_step_ms``."""
        self._client = client
        self._idempotent = idempotent
        self._timeout_ms = timeout_ms
        self._timestamp_step_ms = timestamp_step_ms
        self._waiting: dict[int, deque[_Write]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}
        self._refused: set[str] = set()
        """Topics that may not be written now."""

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
        now_ms = time.time_ns() // 1_000_000
        return encode_rows(rows, producer, sequence, now_ms - now_ms % self._timestamp_step_ms)

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
        write = _Write(batches, fences, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(node, deque()).append(write)
        if node not in self._senders:
            self._senders[node] = asyncio.create_task(self._send_waiting(node), name=f"produce to {node}")
        return await write.answers

    async def _send_waiting(self, node: int) -> None:
        """One request after another, until nothing waits for this broker."""
        waiting = self._waiting[node]
        try:
            while waiting:
                try:
                    await self._client.connect(node)
                except TransientError:
                    self._client.leaders_changed()
                    for write in waiting:
                        _answer(write, {})
                    waiting.clear()
                else:
                    await self._send_together(node, _admitted(_taken(waiting)))
        finally:
            del self._senders[node]

    async def _send_together(self, node: int, writes: Sequence[_Write]) -> None:
        by_topic: dict[str, list[tuple[int, bytes]]] = {}
        for write in writes:
            for (topic, partition), payload in write.batches.items():
                by_topic.setdefault(topic, []).append((partition, payload))
        if not by_topic:
            return
        answers: dict[Where, Answer] = {}
        try:
            response = await self._client.send(node, ProduceRequest(None, _ACKS_ALL, self._timeout_ms, list(by_topic.items())))
            for topic, partitions in response.topics:
                for partition, error_code, offset, *_ in partitions:
                    answers[(topic, partition)] = Answer(error_code, offset)
                    self._tell(topic, is_refused=error_code == TopicAuthorizationFailedError.errno)
                    if error_code in _LEADER_ELSEWHERE:
                        self._client.leaders_changed()
        except TransientError:
            self._client.leaders_changed()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those whose writes these are
            for write in writes:
                if not write.answers.done():
                    write.answers.set_exception(error)
        finally:
            for write in writes:  # also where this is cancelled: nobody waits for ever
                _answer(write, answers)

    def _tell(self, topic: str, *, is_refused: bool) -> None:
        """A right that is missing is said once. Where the broker tells which one, the process ends with it."""
        if is_refused and topic not in self._refused:
            log.error("the credentials may not Write topic %s; it is tried again", topic)
            self._refused.add(topic)
        elif not is_refused:
            self._refused.discard(topic)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _taken(waiting: deque[_Write]) -> list[_Write]:
    """What goes together in the next request, taken off the queue."""
    taken: list[_Write] = []
    size = 0
    while waiting and (not taken or size < _REQUEST_BYTES):
        taken.append(waiting.popleft())
        size += sum(map(len, taken[-1].batches.values()))
    return taken


def _admitted(writes: Sequence[_Write]) -> list[_Write]:
    """Those whose fences let them through; nothing waits between here and the socket."""
    admitted = []
    for write in writes:
        if write.answers.done():
            continue  # whoever wanted it was cancelled
        try:
            for fence in write.fences:
                fence()
        except Exception as refusal:  # noqa: BLE001 - whatever a fence says is for whoever wanted the write
            write.answers.set_exception(refusal)
        else:
            admitted.append(write)
    return admitted


def _answer(write: _Write, answers: Mapping[Where, Answer]) -> None:
    """A batch without an answer is as good as lost on the way."""
    if not write.answers.done():
        write.answers.set_result({where: answers.get(where, Answer(LINK_LOST, -1)) for where in write.batches})
