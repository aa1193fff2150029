"""A worker with a registry of schemas: it starts and works while the registry is away, once it has been there before."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import fastavro
import pytest
from aiokafka import AIOKafkaProducer

import schemas
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.http_registry import serving
from tests.support.waiting import wait_until

EVENTS = "ts,user,event_type,item\n" + "".join(f"2024-01-0{day}T10:00:00Z,u{day},view,i1\n" for day in range(1, 6))


@pytest.mark.kafka
def test_a_worker_starts_and_works_while_the_registry_is_away(kafka: ApacheKafka, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    replay = ("replay", "--events", str(tmp_path / "events.csv"), "--as-fast-as-possible")
    with (
        serving() as registry,
        deployed(tmp_path / "d", kafka.bootstrap_servers, "away.", VEILSTREAM_REGISTRY_URL=registry.url) as deployment,
    ):
        deployment.start("ingest")
        deployment.command(*replay)
        wait_for(deployment, 5)
        assert deployment.stop() == {"ingest": 0}
        registry.may_answer.clear()  # it hangs, which is worse than to be gone
        deployment.start("ingest")
        assert "the cached id of away.behaviour.raw-value is used" in deployment.log("ingest").read_text()
        deployment.command(*replay)
        wait_for(deployment, 5)
        assert deployment.stop() == {"ingest": 0}


@pytest.mark.kafka
def test_a_worker_answers_while_it_waits_for_a_registry_that_hangs(kafka: ApacheKafka, tmp_path: Path) -> None:
    """An event of another version comes in, whose schema nobody knows yet: the event loop never waits, and nothing is lost."""
    older = schemas.released(BEHAVIOUR_RAW)[0]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, json.loads(older), {"user_id": "u1", "event_type": "view", "item_id": "i1"})
    with (
        serving() as registry,
        deployed(tmp_path / "d", kafka.bootstrap_servers, "hangs.", VEILSTREAM_REGISTRY_URL=registry.url) as deployment,
    ):
        registry.texts[777] = older
        deployment.start("ingest")
        registry.may_answer.clear()

        async def publish() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
            await producer.start()
            await producer.send_and_wait("hangs.behaviour.raw", b"\0" + (777).to_bytes(4, "big") + out.getvalue(), key=b"u1")
            await producer.stop()

        asyncio.run(publish())
        wait_until(lambda: "GET /schemas/ids/777" in registry.asked, "the worker asks for the schema")
        longest, begin = 0.0, time.monotonic()
        while time.monotonic() - begin < 4:
            before = time.monotonic()
            assert "veilstream_records_total" in deployment.metrics("ingest")
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.02)
        assert longest < 1.0, "a call that waited would have held up the loop for two seconds"
        assert "does not answer (it is slow)" in deployment.log("ingest").read_text()
        registry.may_answer.set()
        wait_for(deployment, 1)
        assert [record.value is not None for record in deployment.read(BEHAVIOUR_CLEAN)] == [True]
        assert deployment.read(DEAD_LETTER) == []
        assert deployment.stop() == {"ingest": 0}


def wait_for(deployment: Deployment, count: int) -> None:
    line = f'veilstream_records_total{{stage="ingest"}} {count}.0'
    wait_until(lambda: line in deployment.metrics("ingest"), lambda: deployment.log("ingest").read_text()[-2000:])
