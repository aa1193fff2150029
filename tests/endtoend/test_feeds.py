"""Catalogue feeds on a broker, by the product's own commands: a file, records with a header, and a topic of a feed's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.settings import load_kafka_settings, load_settings
from streams.topics import CATALOGUE_ITEMS, DEAD_LETTER, ITEMS_VECTORS
from streams.training.catalogue_reader import read_items
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.ingest_harness import CODECS
from tests.support.waiting import wait_until

ITEM = "<item><g:id>{0}</g:id><g:item_group_id>shirt</g:item_group_id><title>Shirt {0}</title></item>"
FEED = (
    f"<rss xmlns:g='http://base.google.com/ns/1.0'><channel>{''.join(ITEM.format(n) for n in range(5))}<item>&nbsp;</item></channel></rss>"
)


def product(number: int, *variants: int, **fields: Any) -> bytes:
    return json.dumps(
        {"id": number, "title": f"Mug {number}", "variants": [{"id": n, "price": "5.00"} for n in variants]} | fields
    ).encode()


def catalogue(deployment: Deployment) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in deployment.read(ITEMS_VECTORS):
        item_id = (record.key or b"").decode().partition("/")[2]
        found.pop(item_id, None)
        if record.value is not None:
            found[item_id] = CODECS.for_topic(ITEMS_VECTORS).decode(record.value)
    return found


@pytest.mark.kafka
def test_files_headers_topics_tombstones_and_a_kill(tmp_path: Path, kafka: ApacheKafka) -> None:
    (tmp_path / "feed.xml").write_text(FEED)
    with (
        deployed(
            tmp_path / "d",
            kafka.bootstrap_servers,
            "f.",
            VEILSTREAM_MODEL="hashing",
            VEILSTREAM_ITEMS_SOURCE_TOPICS="feed.shopify=shopify-variants",
        ) as deployment,
    ):
        assert "exists   f.feed.shopify" in deployment.command("topics", "create").stdout
        deployment.command("topics", "check")
        deployment.start("catalogue")
        replayed = deployment.command("replay", "--items", str(tmp_path / "feed.xml"), "--items-source", "google-merchant")
        assert "published 5 items" in replayed.stdout and "left out 1 row: undecodable" in replayed.stderr

        async def publish() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
            await producer.start()
            header = [("veilstream-source", b"shopify-products")]
            await producer.send_and_wait(f"f.{CATALOGUE_ITEMS}", product(100, 101, 102), key=b"100", headers=header)
            await producer.send_and_wait("f.feed.shopify", product(200, 201, 202, 203), key=b"200")
            await producer.send_and_wait("f.feed.shopify", product(200, 202, 203, 204), key=b"200")
            await producer.send_and_wait("f.feed.shopify", product(300, 301), key=b"300")
            await producer.send_and_wait("f.feed.shopify", None, key=b"300")
            await producer.send_and_wait("f.feed.shopify", product(400, 401, title=""), key=b"400")
            await producer.stop()

        asyncio.run(publish())
        wait_until(
            lambda: 'veilstream_records_total{stage="catalogue"} 11.0' in deployment.metrics("catalogue"),
            lambda: deployment.log("catalogue").read_text()[-2000:],
        )
        found = catalogue(deployment)
        assert set(found) == {*map(str, range(5)), "100", "202", "203", "204"}
        assert {found[item]["group_id"] for item in map(str, range(5))} == {"shirt"}
        assert {found[item]["group_id"] for item in ("202", "203", "204")} == {"200"}
        (letter,) = [CODECS.for_topic(DEAD_LETTER).decode(record.value) for record in deployment.read(DEAD_LETTER)]
        assert (letter["source_topic"], letter["reason"]) == ("f.feed.shopify", "bad_title")
        assert "1 listed, 1 replayed" in deployment.command("recover", "--replay").stdout
        with pytest.MonkeyPatch.context() as patched:
            for name, value in deployment.environment.items():
                patched.setenv(name, value)
            texts = {item: facts.text for item, facts in asyncio.run(read_items(load_settings(), load_kafka_settings())).items()}
        assert set(texts) == set(catalogue(deployment)) and texts["204"] == "Mug 200", "the trainer reads what the stage reads"
        deployment.kill("catalogue")
        deployment.start("catalogue")
        asyncio.run(_remove(kafka.bootstrap_servers))
        wait_until(lambda: "202" not in catalogue(deployment), lambda: deployment.log("catalogue").read_text()[-2000:])
        assert set(catalogue(deployment)) == {*map(str, range(5)), "100"}, "what came before the kill is remembered by its key"
        assert deployment.stop() == {"catalogue": 0}


async def _remove(bootstrap_servers: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    await producer.send_and_wait("f.feed.shopify", None, key=b"200")
    await producer.stop()
