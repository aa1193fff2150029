"""Sources on a broker, by the product's own commands: a file of GA4, records with a header, and a topic of a source's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.embedded import EmbeddedBroker
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER
from tests.support.deployment import deployed
from tests.support.ingest_harness import CODECS
from tests.support.waiting import wait_until

PERSON = "anna.schmidt@example.com"


def ga4(number: int, item: str) -> dict[str, object]:
    return {
        "event_name": "view_item",
        "event_timestamp": str(1_700_000_000_000_000 + number),
        "event_bundle_sequence_id": str(number),
        "user_id": PERSON,
        "user_pseudo_id": "1.2",
        "items": [{"item_id": item}],
    }


@pytest.mark.slow
def test_files_headers_and_topics(tmp_path: Path) -> None:
    (tmp_path / "ga4.json").write_text("\n".join(json.dumps(ga4(n, f"file-{n}")) for n in range(20)))
    track = {"event": "Product Viewed", "userId": PERSON, "properties": {"product_id": "topic-1"}, "timestamp": "2024-01-01T00:00:00Z"}
    with (
        EmbeddedBroker() as broker,
        deployed(
            tmp_path / "d",
            broker.bootstrap_servers,
            "s.",
            VEILSTREAM_IDEMPOTENT_PRODUCER="false",
            VEILSTREAM_SOURCE_TOPICS="raw.web=segment",
        ) as deployment,
    ):
        assert "exists   s.raw.web" in deployment.command("topics", "create").stdout
        deployment.command("topics", "check")
        deployment.start("ingest")
        deployment.command("replay", "--events", str(tmp_path / "ga4.json"), "--source", "ga4-bigquery")

        async def publish() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
            await producer.start()
            one = json.dumps(ga4(99, "header-1")).encode()
            for _ in range(2):
                await producer.send_and_wait(f"s.{BEHAVIOUR_RAW}", one, key=b"u", headers=[("veilstream-source", b"ga4-bigquery")])
                await producer.send_and_wait("s.raw.web", json.dumps(track).encode(), key=b"u")
            await producer.send_and_wait("s.raw.web", b"rubbish", key=PERSON.encode())
            await producer.stop()

        asyncio.run(publish())
        wait_until(
            lambda: 'veilstream_records_total{stage="ingest"} 25.0' in deployment.metrics("ingest"),
            lambda: deployment.log("ingest").read_text()[-2000:],
        )
        clean = [CODECS.for_topic(BEHAVIOUR_CLEAN).decode(record.value) for record in deployment.read(BEHAVIOUR_CLEAN)]
        assert {event["item_id"] for event in clean} == {*(f"file-{n}" for n in range(20)), "header-1", "topic-1"}
        assert len({event["event_id"] for event in clean}) == 22
        (letter,) = [CODECS.for_topic(DEAD_LETTER).decode(record.value) for record in deployment.read(DEAD_LETTER)]
        assert (letter["source_topic"], letter["reason"]) == ("s.raw.web", "undecodable")
        metrics = deployment.metrics("ingest")
        assert 'veilstream_source_events_total{source="segment"} 3.0' in metrics
        assert 'veilstream_source_refused_total{reason="undecodable",source="segment"} 1.0' in metrics
        assert PERSON not in metrics + deployment.log("ingest").read_text()
        recovered = deployment.command("recover", "--replay")
        assert "1 listed, 1 replayed" in recovered.stdout
        assert deployment.stop() == {"ingest": 0}


@pytest.mark.slow
def test_rubbish_of_nobody_in_particular_stops_nothing(tmp_path: Path) -> None:
    rubbish, good = 6000, 20
    with (
        EmbeddedBroker() as broker,
        deployed(tmp_path / "d", broker.bootstrap_servers, "s.", VEILSTREAM_IDEMPOTENT_PRODUCER="false") as deployment,
    ):
        deployment.start("ingest")

        async def publish() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=20)
            await producer.start()
            topic = f"s.{BEHAVIOUR_RAW}"
            await asyncio.gather(*[await producer.send(topic, b"\0junk", key=b"x") for _ in range(rubbish)])
            for number in range(good):
                value = {"user_id": f"u{number}", "event_type": "view", "item_id": "A1"}
                await producer.send_and_wait(topic, json.dumps(value).encode(), key=b"x", headers=[("content-type", b"application/json")])
            await producer.stop()

        asyncio.run(publish())
        wait_until(lambda: len(deployment.read(BEHAVIOUR_CLEAN)) == good, lambda: deployment.log("ingest").read_text()[-2000:], seconds=60)
        assert len(deployment.read(DEAD_LETTER)) == rubbish
        assert "records were refused (" in deployment.log("ingest").read_text()
        assert deployment.stop() == {"ingest": 0}
