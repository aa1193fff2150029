"""What the brokers held is lost: the steps of docs/guides/operators.md bring the shop back, with the keys and disks that it had."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import local_codecs
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "2",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_CONSENT_DEFAULT": "none",
    "VEILSTREAM_K": "1",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "60",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
}
STAGES = ("ingest", "catalogue", "profile", "feedback", "learning")
SHOPPERS = [f"shopper-{n:02}" for n in range(12)]
REFUSES = SHOPPERS[-1]


def files(folder: Path) -> None:
    """What a shop keeps of its own: items, decisions, events."""
    rows = {
        "items.csv": (["item", "title"], [[f"item-{n}", f"a thing of kind {n}"] for n in range(60)]),
        "decisions.csv": (
            ["ts", "user", "personalization", "training"],
            [[now_ms() - 9_000_000, s, s != REFUSES, s != REFUSES] for s in SHOPPERS],
        ),
        "events.csv": (
            ["ts", "user", "event_type", "item"],
            [[now_ms() - 3_600_000 + n * 1000, s, "view", f"item-{n}"] for n, s in enumerate(SHOPPERS)],
        ),
    }
    for name, (head, body) in rows.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *body])


def replayed(shop: Deployment) -> None:
    shop.command("replay", "--items", "items.csv")
    shop.drain("catalogue")
    shop.command("replay", "--consents", "decisions.csv")
    shop.drain("ingest")
    shop.command("replay", "--events", "events.csv")
    shop.drain(*STAGES)


def last_lists(shop: Deployment) -> dict[str, dict[str, Any]]:
    """Of each pseudonym."""
    codec = local_codecs().for_topic(topics.RECOMMENDATIONS)
    lists = [cast("dict[str, Any]", codec.decode(record.value, record.headers)) for record in shop.read(topics.RECOMMENDATIONS)]
    assert len({one["recommendation_id"] for one in lists}) == len(lists)
    return {one["pseudonym"]: one for one in sorted(lists, key=lambda one: one["source_offset"])}


def test_a_cluster_of_brokers_is_lost(tmp_path: Path) -> None:
    first = ApacheKafka(tmp_path / "first")
    first.start()
    try:
        with deployed(tmp_path / "shop", first.bootstrap_servers, "", **SETTINGS) as shop:
            files(shop.folder)
            shop.start(*STAGES)
            replayed(shop)
            assert len(last_lists(shop)) == len(SHOPPERS)
            assert set(shop.stop().values()) == {0}
    finally:
        first.kill()

    second = ApacheKafka(tmp_path / "second")
    second.start()
    try:
        shop = Deployment(tmp_path / "shop", second.bootstrap_servers, "", SETTINGS)
        shop.command("topics", "create")
        try:
            shop.start(*STAGES)
            replayed(shop)
            hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
            seen = [(who, {"event_type": "view", "user_id": who, "item_id": "item-59", "occurred_at": now_ms()}) for who in SHOPPERS]
            asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, seen))
            shop.drain(*STAGES)
            lists = last_lists(shop)
            for place, who in enumerate(SHOPPERS):
                one = lists.get(hashes.pseudonym(who))
                if who == REFUSES:
                    assert one is None or not one["profiled"]
                    continue
                assert one is not None and one["profiled"]
                known = {reason["item_id"] for item in one["items"] for reason in item["reasons"]}
                assert f"item-{place}" in known, "the same pseudonym, and what she did before the loss"
            assert shop.read(topics.DEAD_LETTER) == []
            shop.command("topics", "check")
            shop.command("audit", "verify")
            assert set(shop.stop().values()) == {0}
        finally:
            for stage in list(shop.processes):
                shop.kill(stage)
    finally:
        second.kill()


def views(shop: Deployment, item: str) -> None:
    rows = [(who, {"event_type": "view", "user_id": who, "item_id": item, "occurred_at": now_ms() - 1_800_000}) for who in SHOPPERS]
    asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, rows))
    shop.drain("ingest", "profile")


def known(shop: Deployment) -> set[str]:
    """What the last lists name as reasons."""
    return {reason["item_id"] for one in last_lists(shop).values() for item in one["items"] for reason in item["reasons"]}


def test_a_changelog_is_made_anew_and_grows_beyond_the_old_one(kafka: ApacheKafka, tmp_path: Path) -> None:
    """A worker that comes back with a disk from before must not take old and new for one: its offset looks right."""
    settings = {**SETTINGS, "VEILSTREAM_CONSENT_DEFAULT": "all", "VEILSTREAM_PARTITIONS": "1"}
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "anew.", **settings) as shop:
        files(shop.folder)
        shop.start("ingest", "catalogue", "profile")
        shop.command("replay", "--items", "items.csv")
        shop.drain("catalogue")
        views(shop, "item-1")
        views(shop, "item-2")
        assert {"item-1", "item-2"} <= known(shop)
        assert shop.stop("profile") == {"profile": 0}
        asyncio.run(delete(shop, f"{shop.prefix}veilstream-profile-profiles-changelog"))
        shop.start("profile-2")
        for item in ("item-3", "item-4", "item-5", "item-6"):
            views(shop, item)
        assert shop.stop("profile-2") == {"profile-2": 0}
        shop.start("profile")
        assert "was made anew" in shop.log("profile").read_text()
        views(shop, "item-7")
        assert {"item-3", "item-7"} <= known(shop) and not {"item-1", "item-2"} & known(shop)
        # The same disk again: nothing is removed.
        assert shop.stop("profile") == {"profile": 0}
        before = shop.log("profile").read_text().count("made anew")
        shop.start("profile")
        assert shop.log("profile").read_text().count("made anew") == before
        assert set(shop.stop().values()) == {0}


async def delete(shop: Deployment, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        for _ in range(100):
            if topic not in await admin.list_topics():
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"{topic} is still there")
    finally:
        await admin.close()
