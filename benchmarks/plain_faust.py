"""The pipeline's job as a plain Faust app, the way Faust's documentation says, with its best documented settings.

The same rules and handlers, codecs and read models as the product; what differs is how events come and go: ``take_events``
for batches, a table (``use_partitioner``, which is right here since table keys are message keys; in memory, since Faust's RocksDB
store can't be written inside a take, so the peer is spared what the product pays for RocksDB), ``topic.send`` for outputs, a
lingering producer. One process a stage, as the product runs. Run as ``python -m benchmarks.plain_faust STAGE``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import faust
import uvloop

from streams import topics
from streams.app import STAGES
from streams.cli.worker import tune_garbage_collection
from streams.engine.records import MemoryRecord
from streams.kafka.clients import connect_admin, partition_counts, quiet_client_loggers
from streams.settings import load_kafka_settings, load_settings
from streams.wiring.stages import Bootstrap

TAKE = 1000
WITHIN_S = float(os.environ.get("PLAIN_WITHIN_S", "0.05"))
LINGER_S = float(os.environ.get("PLAIN_LINGER_S", "0.02"))
"""As they are for the most events a second; who wants the soonest answer sets them lower."""


class View:
    """A Faust table as a StateView."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        if self._table is None:
            return {}
        return {key: value for key in keys if (value := self._table.get(key)) is not None}


async def main(stage: str) -> None:
    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    parts = Bootstrap(settings, kafka).parts(stage)
    spec = STAGES[stage]
    admin = await connect_admin(kafka)
    counts = await partition_counts(admin, [settings.topic_prefix + spec.name for spec in topics.TOPICS])
    await admin.close()
    app = faust.App(
        f"{settings.app_prefix}-{stage}",
        broker=f"kafka://{kafka.bootstrap_servers}",
        store="memory://",
        datadir=str(settings.state_dir / f"plain-{stage}"),
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        web_enabled=False,
        producer_linger=LINGER_S,
        producer_max_batch_size=262_144,
        stream_buffer_maxsize=16_384,
        broker_max_poll_records=5_000,
        broker_commit_interval=settings.commit_interval_s,
        broker_commit_every=10_000,
        stream_wait_empty=False,
    )
    raw = faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    source = app.topic(*(settings.topic_prefix + name for name in spec.sources), schema=raw)
    outputs = {name: app.topic(settings.topic_prefix + name, schema=raw) for name in spec.outputs}
    table = app.Table(spec.table, key_type=bytes, value_type=bytes, use_partitioner=True) if spec.table else None

    @app.agent(source, name=f"plain.{stage}")
    async def work(stream: Any) -> None:
        view = View(table)
        async for events in stream.take_events(TAKE, within=WITHIN_S):
            groups: defaultdict[tuple[str, int], list[MemoryRecord]] = defaultdict(list)
            for event in events:
                m = event.message
                headers = tuple(m.headers.items()) if isinstance(m.headers, dict) else tuple(m.headers or ())
                groups[(m.topic, m.partition)].append(
                    MemoryRecord(m.topic, m.partition, m.offset, int(m.timestamp * 1000), m.key, m.value, headers)
                )
            for batch in groups.values():
                result = await parts.handler(batch, view)
                for output in result.outputs:
                    await outputs[output.topic].send(key=output.key, value=output.value, partition=output.partition)
                for key, value in result.state.items():
                    if value is None:
                        table.pop(key, None)  # type: ignore[union-attr]
                    else:
                        table[key] = value  # type: ignore[index]

    for follower in parts.followers:
        await follower.start(counts[follower.topic])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.start()
    for follower in parts.followers:
        await follower.caught_up()

    def is_up() -> bool:
        recovered = table is None or app.tables.recovery.completed.is_set()
        return bool(app.consumer.assignment()) and not app.rebalancing and recovered

    tune_garbage_collection()  # as the product's workers do
    while not is_up():  # noqa: ASYNC110 - Faust has no event for all of it together
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    await stop.wait()
    await app.stop()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
