"""Events per second through ingest, profile and feedback, beside a plain Faust app, on one Apache Kafka broker.

A run: fresh topics, a catalogue with vectors, the three stages started and ready; then all events are published at once, and
the clock stops when every stage has committed everything, that is when all outputs and state are acknowledged. The encoder is the
one without a model: this measures the stream path. ``make bench-pipeline``.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from aiokafka import AIOKafkaProducer

from benchmarks.harness import interleave, ratio, save
from streams import topics
from streams.serde.codec import local_codecs
from streams.simulator.shop import Emission, Shop
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed

EVENTS = int(os.environ.get("BENCH_EVENTS", "50000"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
STAGES = ("ingest", "profile", "feedback")
SETTINGS = {"VEILSTREAM_MODEL": "hashing", "VEILSTREAM_COMMIT_INTERVAL_S": "0.3", "VEILSTREAM_THRESHOLD": "0.5"}
HOUR_MS = 3_600_000


def make_events() -> tuple[Shop, list[Emission]]:
    """A simulated shop's events: 3,000 items, 2,000 shoppers."""
    start_ms = time.time_ns() // 1_000_000 - 300 * HOUR_MS
    shop = Shop(1, 3000, 2000, start_ms, 12 * HOUR_MS)
    events: list[Emission] = []
    hour = 0
    while len(events) < EVENTS:
        events += shop.step(start_ms + hour * HOUR_MS)
        hour += 1
    return shop, events[:EVENTS]


async def publish(deployment: Deployment, records: Records) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers, linger_ms=20, max_batch_size=262_144)
    await producer.start()
    sends = [await producer.send(deployment.topic(topic), value, key=key, headers=headers) for topic, key, value, headers in records]
    await asyncio.gather(*sends)
    await producer.stop()


def settled(deployment: Deployment) -> float:
    """When everything had been committed for good. Once is not enough: plain Faust commits a source before the broker has
    what it sent for it, so that a stage behind it seems to be done; so the outputs must also have stopped growing."""
    before: dict[str, int] = {}
    at = time.monotonic()
    while True:
        deployment.drain(*STAGES, timeout=600)
        now = time.monotonic()
        sizes = asyncio.run(deployment.sizes((topics.BEHAVIOUR_CLEAN, topics.RECOMMENDATIONS, topics.FEEDBACK, topics.TRAINING_PAIRS)))
        if sizes == before:
            return at
        before, at = sizes, now
        time.sleep(1.5)


class Plain:
    """The plain Faust stages as processes."""

    def __init__(self, deployment: Deployment) -> None:
        root = Path(__file__).resolve().parents[1]
        self.logs = {stage: deployment.folder / f"plain-{stage}.log" for stage in STAGES}
        for stage in STAGES:
            with self.logs[stage].open("wb") as log:
                deployment.processes[stage] = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.plain_faust", stage],
                    env={**deployment.environment, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"},  # as the product sets it
                    cwd=deployment.folder,
                    stdout=log,
                    stderr=log,
                )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 120
        while not all("ready" in log.read_text() for log in self.logs.values()):
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(log.read_text()[-2000:] for log in self.logs.values()))
            time.sleep(0.2)


Records = list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]
"""Topic, key, value and headers of each."""


def records_of(shop: Shop, events: list[Emission]) -> tuple[Records, Records]:
    """Those of the catalogue, and those of the events."""
    codecs = local_codecs()
    raw, item = codecs.for_topic(topics.BEHAVIOUR_RAW), codecs.for_topic(topics.CATALOGUE_ITEMS)
    catalogue = [(topics.CATALOGUE_ITEMS, i.item_id.encode(), item.encode(i.value), []) for i in shop.items]
    behaviour = [
        (topics.BEHAVIOUR_RAW, e.key, e.value if isinstance(e.value, bytes) else raw.encode(e.value), list(e.headers)) for e in events
    ]
    return catalogue, behaviour


class Rounds:
    """Runs of one broker, each in topics of its own."""

    def __init__(self, folder: Path, broker: ApacheKafka, catalogue: Records, behaviour: Records) -> None:
        self._folder, self._broker, self._catalogue, self._behaviour = folder, broker, catalogue, behaviour
        self.written: dict[str, dict[str, int]] = {}
        """Records of the latest run of each name, by topic."""

    def run(self, name: str, settings: Mapping[str, str], start: Callable[[Deployment], object]) -> float:
        """Events per second. ``start`` starts the stages; the catalogue is there by then."""
        run_id = f"{name.replace('_', '')}{uuid.uuid4().hex[:6]}"
        with deployed(self._folder / run_id, self._broker.bootstrap_servers, f"{run_id}.", **settings) as deployment:
            deployment.start("catalogue")
            asyncio.run(publish(deployment, self._catalogue))
            deployment.drain("catalogue")
            deployment.stop("catalogue")
            start(deployment)
            begin = time.monotonic()
            asyncio.run(publish(deployment, self._behaviour))
            elapsed = settled(deployment) - begin
            counted = (topics.BEHAVIOUR_CLEAN, topics.RECOMMENDATIONS, topics.FEEDBACK)
            self.written[name] = {topic: len(deployment.read(topic)) for topic in counted}
            return len(self._behaviour) / elapsed


def main() -> None:
    catalogue, behaviour = records_of(*make_events())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = ApacheKafka(folder / "kafka")
        broker.start()
        rounds = Rounds(folder, broker, catalogue, behaviour)
        try:
            measured = interleave(
                {
                    "veilstream": lambda _: rounds.run("veilstream", SETTINGS, lambda deployment: deployment.start(*STAGES)),
                    "plain_faust": lambda _: rounds.run("plain_faust", SETTINGS, lambda deployment: Plain(deployment).wait_ready()),
                },
                RUNS,
            )
        finally:
            broker.stop()
    result = {
        "events": len(behaviour),
        "unit": "events/s",
        "runs": measured,
        "records_written": rounds.written,
        **ratio(measured, "veilstream", "plain_faust"),
    }
    path = save("pipeline", result)
    print(
        f"{result['veilstream_median']:,.0f} against {result['plain_faust_median']:,.0f} events/s: "
        f"{result['ratio_median']:.1f} ×; wrote {path}"
    )


if __name__ == "__main__":
    main()
