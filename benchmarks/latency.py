"""From a raw event to its recommendation, in milliseconds, by rate: beside a bare produce and consume, and beside a plain Faust app.

Open loop: event k is due at k / rate, whatever became of those before it, and its latency counts from when it was due. Each round starts
the stages anew on the same Apache Kafka broker; everything shares one machine. ``make bench-latency``.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import pipeline
from benchmarks.harness import save
from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import local_codecs
from streams.simulator.shop import Shop
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
UNANSWERED = int(os.environ.get("BENCH_UNANSWERED", "4000"))
"""Capacity is how many events a second are answered while so many always wait: the same events, the same driver, the same machine."""
SETTINGS = {"VEILSTREAM_MODEL": "bundled", "VEILSTREAM_THRESHOLD": "0.1"}
PLAIN = {"PLAIN_WITHIN_S": "0.005", "PLAIN_LINGER_S": "0"}
"""What makes the plain app answer soonest: it lingers for nothing."""
COLD, SLOW, STEADY, HALF = "first second, 200/s", "20/s", "200/s", "half of capacity"
SYSTEMS = ("bare", "veilstream", "plain_faust")
_PATIENCE_S = 20.0
"""Where nothing comes for so long, nothing comes any more."""

Latencies = list[float]
Send = Callable[[int, float], Awaitable[None]]
"""Sends the event of this number, due at this time."""


class Probe:
    """Sends numbered events when they are due, and hears when each is answered."""

    def __init__(self) -> None:
        self._due: dict[object, float] = {}
        self._waiting: set[object] = set()
        self._found: Latencies = []
        self._answer = asyncio.Event()

    def sent(self, what: object, due: float) -> None:
        self._due[what] = due
        self._waiting.add(what)

    def answered(self, what: object) -> None:
        if what in self._waiting:
            self._waiting.discard(what)
            self._found.append((time.monotonic() - self._due.pop(what)) * 1000)
            self._answer.set()

    async def run(self, rate: float, seconds: float, send: Send) -> Latencies:
        """Milliseconds of all events of one rate; raises AssertionError where one is never answered."""
        self._found = []
        start = time.monotonic() + 0.05
        for number in range(int(rate * seconds)):
            due = start + number / rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            await send(number, due)
        await self._answered_but(0)
        return self._found

    async def saturate(self, most: int, seconds: float, send: Send) -> float:
        """Events a second that are answered while ``most`` always wait; raises AssertionError where one is never answered."""
        number, begin = 0, time.monotonic()
        measured_from, measured_at = 0, begin
        while (now := time.monotonic()) < begin + 2 * seconds:
            if measured_from == 0 and now > begin + seconds:  # what came before was for warming up
                measured_from, measured_at = number - len(self._waiting), now
            await send(number, now)
            number += 1
            await self._answered_but(most - 1)
        rate = (number - len(self._waiting) - measured_from) / (now - measured_at)
        await self._answered_but(0)
        return rate

    async def _answered_but(self, most: int) -> None:
        """Wait until no more than so many wait for an answer."""
        try:
            while len(self._waiting) > most:
                self._answer.clear()
                async with asyncio.timeout(_PATIENCE_S):
                    await self._answer.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self._waiting)} events were never answered") from None


def quantiles(latencies: Sequence[float]) -> dict[str, float]:
    """Of the nearest rank, in milliseconds."""
    ordered = sorted(latencies)
    values = {f"p{q:g}": ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))] for q in (50, 90, 99, 99.9)}
    return {"events": len(ordered), **{name: round(value, 2) for name, value in values.items()}, "max": round(ordered[-1], 2)}


Work = Callable[[Probe, Send], Awaitable[Any]]
"""What is measured once the clients are there."""


async def drive_bare(deployment: Deployment, work: Work) -> Any:
    """One hop: a producer, the broker, a consumer; values as large as an event's."""
    topic = deployment.topic(topics.PRIVACY_AUDIT)
    probe = Probe()
    producer, consumer = await _clients(deployment, topic)

    async def read() -> None:
        async for message in consumer:
            probe.answered(bytes(message.value or b""))

    async def send(number: int, due: float) -> None:
        value = b"%-160d" % time.monotonic_ns()
        probe.sent(value, due)
        await producer.send(topic, value, key=b"%d" % number)

    return await _measure(work, probe, read, send, producer, consumer)


async def drive_stages(deployment: Deployment, shop: Shop, work: Work) -> Any:
    """Raw events of ever new shoppers, who view an item each: every one gets a recommendation."""
    codecs = local_codecs()
    raw, recommendations = codecs.for_topic(topics.BEHAVIOUR_RAW), codecs.for_topic(topics.RECOMMENDATIONS)
    pseudonymizer = Pseudonymizer(load_pseudonym_key(deployment.folder / "keys" / "pseudonym.key"))
    items, rng, probe = [item.item_id for item in shop.items], Random(7), Probe()
    producer, consumer = await _clients(deployment, deployment.topic(topics.RECOMMENDATIONS))

    async def read() -> None:
        async for message in consumer:
            probe.answered(recommendations.decode(message.value, message.headers)["trigger_event_id"])

    async def send(number: int, due: float) -> None:
        user, event = uuid.uuid4().hex, uuid.uuid4().hex
        occurred_at = str(time.time_ns() // 1_000_000)
        value = {"event_id": event, "user_id": user, "event_type": "view", "item_id": rng.choice(items), "occurred_at": occurred_at}
        probe.sent(pseudonymizer.event_id(user, event), due)
        await producer.send(deployment.topic(topics.BEHAVIOUR_RAW), raw.encode(value), key=user.encode())

    return await _measure(work, probe, read, send, producer, consumer)


async def _clients(deployment: Deployment, topic: str) -> tuple[AIOKafkaProducer, AIOKafkaConsumer]:
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers, acks="all", linger_ms=0)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=deployment.bootstrap_servers, group_id=None, auto_offset_reset="latest", fetch_max_wait_ms=50
    )
    await producer.start()
    await consumer.start()
    await consumer.seek_to_end()
    await asyncio.sleep(1)
    return producer, consumer


async def _measure(
    work: Work, probe: Probe, read: Callable[[], Any], send: Send, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer
) -> Any:
    task = asyncio.create_task(read())
    try:
        return await work(probe, send)
    finally:
        task.cancel()
        await producer.stop()
        await consumer.stop()


async def _capacity(probe: Probe, send: Send) -> float:
    return await probe.saturate(UNANSWERED, SECONDS / 2, send)


def _by_rate(rates: Mapping[str, float]) -> Work:
    async def work(probe: Probe, send: Send) -> dict[str, Latencies]:
        found = {COLD: await probe.run(200, 1.0, send)}
        for name, rate in rates.items():
            found[name] = await probe.run(rate, SECONDS, send)
        return found

    return work


def main() -> None:
    pipeline.EVENTS = 1
    shop, _ = pipeline.make_events()
    codecs = local_codecs()
    item = codecs.for_topic(topics.CATALOGUE_ITEMS)
    catalogue = [(topics.CATALOGUE_ITEMS, i.item_id.encode(), item.encode(i.value), []) for i in shop.items]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = ApacheKafka(folder / "kafka")
        broker.start()

        def prepared(which: str) -> Any:
            run_id = f"{which.replace('_', '')}{uuid.uuid4().hex[:6]}"
            return deployed(folder / run_id, broker.bootstrap_servers, f"{run_id}.", **SETTINGS, **PLAIN)

        def start(deployment: Deployment, which: str) -> None:
            deployment.start("catalogue")
            asyncio.run(pipeline.publish(deployment, catalogue))
            deployment.drain("catalogue")
            deployment.stop("catalogue")
            if which == "plain_faust":
                pipeline.Plain(deployment).wait_ready()
            else:
                deployment.start(*pipeline.STAGES)

        def run(which: str, work: Work) -> Any:
            with prepared(which) as deployment:
                if which == "bare":
                    return uvloop.run(drive_bare(deployment, work))
                start(deployment, which)
                return uvloop.run(drive_stages(deployment, shop, work))

        try:
            most = run("veilstream", _capacity)
            print(f"capacity: {most:,.0f} events/s", flush=True)
            rates = {SLOW: 20.0, STEADY: 200.0, HALF: most / 2}
            runs: dict[str, dict[str, list[dict[str, float]]]] = {which: {rate: [] for rate in (COLD, *rates)} for which in SYSTEMS}
            for number in range(RUNS):
                for which in SYSTEMS:
                    for rate, latencies in run(which, _by_rate(rates)).items():
                        found = quantiles(latencies)
                        runs[which][rate].append(found)
                        print(f"run {number + 1}/{RUNS} {which}, {rate}: p50 {found['p50']:.1f} p99 {found['p99']:.1f} ms", flush=True)
        finally:
            broker.stop()
    medians = {
        which: {rate: {q: round(statistics.median(r[q] for r in of_rate), 2) for q in of_rate[0]} for rate, of_rate in by_rate.items()}
        for which, by_rate in runs.items()
    }
    ratios = [a["p99"] / b["p99"] for a, b in zip(runs["veilstream"][HALF], runs["bare"][HALF], strict=True)]
    result = {
        "unit": "ms",
        "capacity": round(most),
        "runs": runs,
        "medians": medians,
        "p99_to_bare_at_half_of_capacity": statistics.median(ratios),
    }
    print(f"wrote {save('latency', result)}")


if __name__ == "__main__":
    main()
