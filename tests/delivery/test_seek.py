"""What a consumer does with a partition of which nothing is committed, on Apache Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from faust.types import TP
from streams.engine.faust.batch import FetchedBatch
from streams.engine.ledger import Commit, CommitLedger

from streams.app import StageSpec, add_agent, build_app
from streams.engine.faust.transport import BatchConsumer
from streams.settings import KafkaSettings, Settings
from tests.delivery.test_faust_losses import make_topic, produce
from tests.support.apache_kafka import ApacheKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Notes:
    """In the place of the lanes: notes what came, and finishes nothing."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    async def submit(self, batch: FetchedBatch) -> None:
        self.offsets += [record.offset for record in batch.records]


async def came(notes: Notes, expected: list[int]) -> None:
    async with asyncio.timeout(60):
        while notes.offsets != expected:  # noqa: ASYNC110 - Faust tells nobody when a batch was delivered
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("commits_its_beginning", [False, True])
def test_a_rebalance_before_the_first_progress_goes_back_to_the_beginning(
    kafka: ApacheKafka, tmp_path: Path, commits_its_beginning: bool
) -> None:
    """aiokafka does not seek where nothing, or offset 0, is committed, so what was fetched before would never come again."""
    name = f"seek.{commits_its_beginning}".lower()
    asyncio.run(make_topic(kafka.bootstrap_servers, name))
    asyncio.run(produce(kafka.bootstrap_servers, name, [b"%d" % n for n in range(10)]))
    asyncio.run(go_back(kafka.bootstrap_servers, name, tmp_path, commits_its_beginning))


async def go_back(servers: str, topic: str, folder: Path, commits_its_beginning: bool) -> None:
    spec = StageSpec(topic, (topic,), (), table=None, aligned=True)
    ledger, notes = CommitLedger(), Notes()
    settings = Settings(app_prefix="seek", state_dir=folder, commit_interval_s=0.2, fetch_max_records=4)
    app = build_app(spec, settings, KafkaSettings(bootstrap_servers=servers), ledger, 1)
    add_agent(app, spec, settings, notes)
    await app.start()
    try:
        await came(notes, list(range(10)))
        consumer, tp = cast(BatchConsumer, app.consumer), TP(topic, 0)
        if commits_its_beginning:
            ledger.renew((topic, 0), Commit(0, "metadata"))
            assert await consumer.commit()
        await consumer.perform_seek()
        await came(notes, [*range(10), *range(10)])
        assert ledger.oldest_undone(tp) == 0
    finally:
        await app.stop()
