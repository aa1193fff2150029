"""What one request to a broker carries: all that waits, but what a fence forbids, and every write gets its own answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from streams.engine.kafka import produce as module
from streams.engine.kafka.batches import cut
from streams.engine.kafka.client import BrokerClient
from streams.engine.kafka.produce import KafkaProduceLink
from streams.engine.outputs import LINK_LOST, Answer
from streams.errors import NotOwner, TransientError

OPEN: tuple[Callable[[], None], ...] = ()


class Response:
    def __init__(self, topics: list[Any]) -> None:
        self.topics = topics


class Client:
    """A broker that answers a request when it is told to; topics whose name ends in a digit are on that node."""

    def __init__(self) -> None:
        self.requests: list[dict[tuple[str, int], bytes]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.is_reachable = True

    async def leader(self, topic: str, partition: int) -> int:
        return int(topic[-1])

    async def connect(self, node: int) -> None:
        if not self.is_reachable:
            raise TransientError("away")

    def leaders_changed(self) -> None: ...

    async def send(self, node: int, request: Any) -> Response:
        batches = {(topic, partition): data for topic, parts in request._topics for partition, data in parts}
        self.requests.append(batches)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Response([(topic, [(partition, 0, 100 * partition)]) for topic, partition in batches])


def link_to(client: Client) -> KafkaProduceLink:
    return KafkaProduceLink(cast(BrokerClient, client), idempotent=True)


async def started(link: KafkaProduceLink, *writes: tuple[dict[tuple[str, int], bytes], Any]) -> list[asyncio.Task[Any]]:
    tasks = []
    for batches, fences in writes:
        tasks.append(asyncio.create_task(link.produce(batches, fences)))
        for _ in range(5):  # so that each is where it waits before the next one comes
            await asyncio.sleep(0)
    return tasks


def refuse() -> None:
    raise NotOwner("not ours")


async def test_what_waits_goes_together_and_each_write_gets_its_own_answer() -> None:
    client = Client()
    tasks = await started(link_to(client), *(({("t1", p): b"%d" % p}, OPEN) for p in range(4)))
    assert client.requests == [{("t1", 0): b"0"}]
    client.gate.set()
    assert await asyncio.gather(*tasks) == [{("t1", p): Answer(0, 100 * p)} for p in range(4)]
    assert client.requests[1:] == [{("t1", 1): b"1", ("t1", 2): b"2", ("t1", 3): b"3"}]


async def test_a_fence_keeps_out_its_own_write_only() -> None:
    client = Client()
    tasks = await started(link_to(client), ({("t1", 0): b"0"}, OPEN), ({("t1", 1): b"1"}, (refuse,)), ({("t1", 2): b"2"}, OPEN))
    client.gate.set()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(second, NotOwner)
    assert (first, third) == ({("t1", 0): Answer(0, 0)}, {("t1", 2): Answer(0, 200)})
    assert client.requests[1:] == [{("t1", 2): b"2"}]


async def test_one_broker_does_not_wait_for_another() -> None:
    client = Client()
    tasks = await started(link_to(client), ({("t1", 0): b"a"}, OPEN), ({("t2", 0): b"b"}, OPEN))
    assert client.requests == [{("t1", 0): b"a"}, {("t2", 0): b"b"}]
    client.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("is_reachable", [True, False])
async def test_a_broker_that_does_not_answer_loses_the_batches_of_all(is_reachable: bool) -> None:
    client = Client()
    client.failure, client.is_reachable = TransientError("no answer"), is_reachable
    client.gate.set()
    tasks = await started(link_to(client), *(({("t1", p): b"x"}, OPEN) for p in range(3)))
    assert await asyncio.gather(*tasks) == [{("t1", p): Answer(LINK_LOST, -1)} for p in range(3)]


async def test_what_nobody_expects_is_raised_to_all_and_the_next_write_goes() -> None:
    client = Client()
    client.failure = KeyError("an answer that makes no sense")
    client.gate.set()
    link = link_to(client)
    tasks = await started(link, ({("t1", 0): b"x"}, OPEN), ({("t1", 1): b"x"}, OPEN))
    assert [type(found) for found in await asyncio.gather(*tasks, return_exceptions=True)] == [KeyError, KeyError]
    client.failure = None
    assert await link.produce({("t1", 0): b"y"}, OPEN) == {("t1", 0): Answer(0, 0)}


async def test_a_write_that_was_cancelled_while_it_waited_is_not_sent() -> None:
    client = Client()
    first, second = await started(link_to(client), ({("t1", 0): b"0"}, OPEN), ({("t1", 1): b"1"}, OPEN))
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    client.gate.set()
    await first
    await asyncio.sleep(0)
    assert client.requests == [{("t1", 0): b"0"}]


async def test_a_request_takes_in_no_more_than_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUEST_BYTES", 10)
    client = Client()
    tasks = await started(link_to(client), *(({("t1", p): b"x" * 6}, OPEN) for p in range(5)))
    client.gate.set()
    await asyncio.gather(*tasks)
    assert [len(request) for request in client.requests] == [1, 2, 2]


@pytest.mark.parametrize("step_ms", [1, 60_000])
def test_timestamps_are_rounded_down(step_ms: int) -> None:
    link = KafkaProduceLink(cast(BrokerClient, Client()), idempotent=True, timestamp_step_ms=step_ms)
    before_ms = time.time_ns() // 1_000_000
    (batch,) = cut(link.encode([(b"k", b"v", ()), (b"k", b"w", ())], (-1, -1), 0))
    times = [record.timestamp for record in batch]
    assert times[0] == times[1] and times[0] % step_ms == 0
    assert before_ms - step_ms < times[0] <= time.time_ns() // 1_000_000
