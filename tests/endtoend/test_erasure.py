"""A shopper is forgotten on Apache Kafka, while workers are killed: in every state, in what is learnt from, and once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams import topics
from streams.kafka.clients import connect_admin
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde import local_codecs
from streams.settings import KafkaSettings
from streams.simulator.accounting import record_id
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import deployed
from tests.support.publishing import now_ms, publish

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
CODECS = local_codecs()
SHOPPERS = [f"顾客-{n:03}" for n in range(24)]
GONE = SHOPPERS[::3]
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "3",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "3600",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
}
ITEMS = ["tent", "stove", "lamp", "灯笼"]


async def config(kafka: ApacheKafka, topic: str) -> dict[str, str]:
    admin = await connect_admin(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers))
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()


def test_forgotten_while_workers_are_killed(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "erasure.", **SETTINGS) as shop:
        asyncio.run(publish(shop, topics.CATALOGUE_ITEMS, [(name, {"item_id": name, "title": f"a {name}"}) for name in ITEMS]))
        shop.start()
        shop.drain("catalogue")
        events = [
            (who, {"event_type": kind, "user_id": who, "item_id": ITEMS[(n + step) % 4], "occurred_at": now_ms()})
            for n, who in enumerate(SHOPPERS)
            for step, kind in enumerate(("view", "cart", "purchase"))
        ]
        asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, events))
        shop.drain("ingest", "profile")
        hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
        gone, kept = {hashes.pseudonym(u).encode() for u in GONE}, {hashes.pseudonym(u).encode() for u in set(SHOPPERS) - set(GONE)}

        # All that is held, for the shopper herself.
        export = json.loads(shop.command("export", GONE[0]).stdout)
        assert export["pseudonym"].encode() in gone
        assert len(export["records"]["behaviour.clean"]) == 3 and export["records"]["recommendations"]
        assert set(export["states"]["profile"]["items"]) == {"tent", "stove", "lamp"}
        assert set(export["states"]) == {"profile", "feedback"}
        (shop.folder / "id").write_text(GONE[0] + "\n")
        shop.command("export", GONE[0], "--out", "export.json")
        assert json.loads((shop.folder / "export.json").read_text())["states"] == export["states"]

        async def forget() -> None:
            requests = [(who, {"user_id": who, "request_id": f"r-{n}", "requested_at": now_ms()}) for n, who in enumerate(GONE)]
            publishing = asyncio.create_task(publish(shop, topics.PRIVACY_ERASURE, requests, over_s=2.0))
            await asyncio.sleep(1.0)
            for stage in ("ingest", "profile", "feedback"):
                await asyncio.to_thread(shop.kill, stage)
            await publishing

        asyncio.run(forget())
        shop.start("ingest", "profile", "feedback")
        shop.drain()
        done = shop.command("forget", GONE[0], "--request-id", "again", "--wait", "60")
        assert "no stage holds the shopper any more" in done.stdout and "behaviour.clean: " in done.stdout
        shop.drain()
        assert shop.stop() == dict.fromkeys(("ingest", "catalogue", "profile", "feedback"), 0)

        for name in ("veilstream-profile-profiles-changelog", "veilstream-feedback-outstanding-changelog"):
            newest = {r.key: r.value for r in shop.read(name)}
            assert not any(newest.get(key) for key in gone), f"{name} holds one of them"
            assert all(newest.get(key) for key in kept), f"{name} has lost somebody"
            bound = asyncio.run(config(kafka, shop.topic(name)))["max.compaction.lag.ms"]
            assert bound == "21600000", "how long the brokers keep what was there"
        asked = shop.read(topics.PRIVACY_FORGOTTEN)
        assert max(Counter(map(record_id, asked)).values()) == 1 and len(asked) == len(GONE) + 1
        assert {r.key for r in asked} == gone
        erased = [CODECS.for_topic(topics.BEHAVIOUR_CLEAN).decode(r.value) for r in shop.read(topics.BEHAVIOUR_CLEAN)]
        assert Counter(e["pseudonym"].encode() for e in erased if e["event_type"] == "erase") == Counter(gone) + Counter(
            [hashes.pseudonym(GONE[0]).encode()]
        )
        assert "wrong" not in shop.command("audit", "verify").stdout
        links = [json.loads(line) for line in shop.command("audit", "show", "--action", "erased", "--json").stdout.splitlines()]
        assert {(link["stage"], link["subject"].encode()) for link in links} == {
            (stage, key) for stage in ("profile", "feedback") for key in gone
        }
        assert Counter(link["stage"] for link in links) == {"profile": len(GONE) + 1, "feedback": len(GONE) + 1}
        after = json.loads(shop.command("export", GONE[0]).stdout)
        assert after["states"] == {} and after["consents"] == []
        for who in SHOPPERS:
            assert not any(who.encode() in path.read_bytes() for path in shop.folder.rglob("*") if path.is_file() and path.name != "id")
