"""Browsers turn into users on a real broker, while one of two profile workers is killed: each history arrives once, and a browser that is
logged out is a stranger."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.ranking.rules import ProfileRules
from streams.serde.codec import local_codecs
from streams.serde.records import IDENTIFY, CleanEvent, ProfileLink
from streams.settings import Settings
from streams.simulator.accounting import record_id
from streams.stages.profile.history import apply_event
from streams.stages.profile.links import hand_over, join
from streams.stages.profile.profile import Profile, load_profile
from streams.stages.profile.together_counter import is_profile
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.sealed_states import states_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
CODECS = local_codecs()
SHOPPERS = 60
ITEMS = [f"item-{n:02}" for n in range(24)]
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "4",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_TOP_K": "5",
    "VEILSTREAM_REASONS_MAX": "8",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_RECOMMENDED_COOLDOWN_S": "0",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
    "VEILSTREAM_FETCH_MAX_RECORDS": "10",
}
JSON = [("content-type", b"application/json")]


def browser(n: int) -> str:
    return f"browser-of-{n:04}"


def user(n: int) -> str:
    return f"customer-no-{n:04}"


def seen_before(n: int) -> set[str]:
    """What a browser looked at before the log-in."""
    return {ITEMS[(n + step) % len(ITEMS)] for step in (0, 5, 11)}


async def publish(deployment: Deployment, events: list[tuple[str, dict[str, Any]]], over_s: float = 0.0) -> None:
    """Keys and events; keys decide the order."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers)
    await producer.start()
    try:
        for key, event in events:
            value = {"occurred_at": time.time_ns() // 1_000_000 - 120_000, **event}
            await producer.send(deployment.topic(topics.BEHAVIOUR_RAW), json.dumps(value).encode(), key=key.encode(), headers=JSON)
            if over_s:
                await asyncio.sleep(over_s / len(events))
    finally:
        await producer.stop()


async def catalogue(deployment: Deployment) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers)
    await producer.start()
    for item in ITEMS:
        value = json.dumps({"item_id": item, "title": f"thing number {item}"}).encode()
        await producer.send(deployment.topic(topics.CATALOGUE_ITEMS), value, key=item.encode(), headers=JSON)
    await producer.stop()


def expected(deployment: Deployment) -> dict[str, Profile]:
    """Every event of the clean ones once, in its partition's order, then every link once."""
    rules = ProfileRules.from_settings(Settings())
    profiles: dict[str, Profile] = {}
    links: list[ProfileLink] = []
    for record in sorted(deployment.read(topics.BEHAVIOUR_CLEAN), key=lambda record: (record.partition, record.offset)):
        one = cast(CleanEvent, CODECS.for_topic(topics.BEHAVIOUR_CLEAN).decode(record.value))
        profile = profiles.setdefault(one["pseudonym"], Profile())
        if one["event_type"] == IDENTIFY:
            handed = hand_over(profile, one, record.offset, rules)
            assert handed is not None
            profiles[one["pseudonym"]] = handed.profile
            links += [handed.link] if handed.link is not None else []
        else:
            apply_event(profile, one, record.offset, rules)
    for link in links:
        join(profiles.setdefault(link["pseudonym"], Profile()), link, rules)
    return profiles


def history(profile: Profile) -> tuple[object, ...]:
    return (
        profile.applied_offset,
        profile.items,
        profile.queries,
        profile.bought,
        profile.event_ids,
        profile.linked,
        profile.linked_bought,
    )


def test_histories_go_where_they_belong_while_a_worker_is_killed(kafka: ApacheKafka, tmp_path: Path) -> None:
    everybody = range(SHOPPERS)
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "identify.", **SETTINGS) as shop:
        asyncio.run(catalogue(shop))
        shop.start("ingest", "catalogue", "profile", "profile-2")
        shop.drain("catalogue")
        looks = [
            (browser(n), {"event_type": "view", "anonymous_id": browser(n), "item_id": item})
            for n in everybody
            for item in sorted(seen_before(n))
        ]
        asyncio.run(publish(shop, looks))
        log_ins = [
            (
                browser(n),
                {"event_type": "identify", "user_id": user(n), "anonymous_id": browser(n), "consent": n % 10 > 0, "event_id": f"in-{n}"},
            )
            for n in everybody
        ]

        async def log_in() -> None:
            publishing = asyncio.create_task(publish(shop, log_ins, over_s=3.0))
            await asyncio.sleep(1.5)
            await asyncio.to_thread(shop.kill, "profile-2")
            await publishing

        asyncio.run(log_in())
        # Another one with nothing takes its place, while producers repeat themselves.
        shutil.rmtree(shop.folder / "state2", ignore_errors=True)
        shop.start("profile-2", ready=False)
        asyncio.run(publish(shop, log_ins))
        for _ in range(2):  # links come behind what caused them
            shop.drain("ingest", "profile")
        as_users = [
            (user(n), {"event_type": "view", "user_id": user(n), "anonymous_id": browser(n), "item_id": ITEMS[n % 24]}) for n in everybody
        ]
        logged_out = [(browser(n), {"event_type": "view", "anonymous_id": browser(n), "item_id": ITEMS[(n + 3) % 24]}) for n in everybody]
        asyncio.run(publish(shop, [*as_users, *logged_out]))
        shop.drain("ingest", "profile")

        hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
        users = {hashes.pseudonym(user(n)): n for n in everybody}
        browsers = {hashes.pseudonym(f"anonymous:{browser(n)}"): n for n in everybody}

        # Once, in the topic and in the profiles.
        assert max(Counter(map(record_id, shop.read(topics.PROFILE_LINKS))).values()) == 1
        links = [CODECS.for_topic(topics.PROFILE_LINKS).decode(record.value) for record in shop.read(topics.PROFILE_LINKS)]
        assert Counter(users[link["pseudonym"]] for link in links) == Counter(n for n in everybody if n % 10)
        latest = {key: value for _, key, value in states_of(shop, "profile") if is_profile(key)}
        found = {key.decode(): load_profile(value or b"") for key, value in latest.items()}
        wanted = expected(shop)
        assert {key: history(one) for key, one in found.items()} == {key: history(one) for key, one in wanted.items()}

        # What the shoppers see: the last recommendation of each.
        decode = CODECS.for_topic(topics.RECOMMENDATIONS).decode
        last = {
            value["pseudonym"]: value
            for r in sorted(shop.read(topics.RECOMMENDATIONS), key=lambda r: (r.partition, r.offset))
            for value in [decode(r.value)]
        }
        because = {
            key: {p["item_id"] for item in one["items"] for p in item["reasons"] if p["kind"] == "item"} for key, one in last.items()
        }
        for key, n in users.items():
            assert because[key] == (seen_before(n) | {ITEMS[n % 24]} if n % 10 else {ITEMS[n % 24]}), n
        for key, n in browsers.items():
            own = {ITEMS[(n + 3) % 24]}
            assert because[key] == (own if n % 10 else own | seen_before(n)), n
            assert found[key].items.keys() == because[key] and not found[key].linked

        # Nobody is named anywhere, and what was not agreed to is counted.
        for topic in shop.all_topics():
            if topic == shop.topic(topics.BEHAVIOUR_RAW) or topic.endswith("__assignor-__leader"):
                continue
            for record in shop.read(topic.removeprefix(shop.prefix)):
                written = b"\n".join([record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)])
                assert b"customer-no-" not in written and b"browser-of-" not in written, topic
        assert not any("customer-no-" in log or "browser-of-" in log for log in (shop.log(stage).read_text() for stage in shop.ports))
        dropped = [line for line in shop.metrics("ingest").splitlines() if line.startswith("veilstream_dropped_total")]
        assert f'veilstream_dropped_total{{reason="no_consent",stage="ingest"}} {2 * SHOPPERS / 10}' in dropped, dropped
