"""Consent on Apache Kafka: who did not agree gets lists that know nobody, and a withdrawal counts though a worker is killed meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streams import topics
from streams.privacy.keys import load_private_key, load_pseudonym_key, load_stage_verify_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import open_sealed_id
from streams.serde import local_codecs
from streams.serde.records import CONSENT, NOBODY
from streams.simulator.accounting import record_id
from streams.stages.profile.profile import load_profile
from streams.stages.profile.together_counter import is_profile
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish
from tests.support.sealed_states import states_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
CODECS = local_codecs()
SHOPPERS = [f"kunde-{n:03}" for n in range(40)]
GONE = set(SHOPPERS[::2])
"""They withdraw later."""
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "4",
    "VEILSTREAM_CONSENT_DEFAULT": "none",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_RECOMMENDED_COOLDOWN_S": "0",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
}


def views(shop: Deployment, name: str) -> None:
    """Everybody looks at an item that nobody looked at before. Keys that do not tell the shopper: any worker may get it."""
    rows = [(f"{n}", {"event_type": "view", "user_id": who, "item_id": name, "occurred_at": now_ms()}) for n, who in enumerate(SHOPPERS)]
    asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, rows))
    shop.drain("ingest", "profile")


def decisions(allowed: bool, who: list[str]) -> list[tuple[str, dict[str, Any]]]:
    purposes = {"personalization": allowed, "training": allowed}
    return [
        (user, {"user_id": user, "purposes": purposes, "updated_at": now_ms(), "policy_version": "3", "source": "banner"}) for user in who
    ]


def lists(shop: Deployment) -> list[dict[str, Any]]:
    return [CODECS.for_topic(topics.RECOMMENDATIONS).decode(record.value) for record in shop.read(topics.RECOMMENDATIONS)]


def test_agreed_and_withdrawn_while_workers_are_killed(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "consent.", **SETTINGS) as shop:
        items = [(name, {"item_id": name, "title": f"a thing called {name}"}) for name in ("one", "two", "three", "four")]
        asyncio.run(publish(shop, topics.CATALOGUE_ITEMS, items))
        shop.start("ingest", "ingest-2", "catalogue", "profile")
        shop.drain("catalogue")
        hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
        key = load_private_key(shop.folder / "keys" / "subscriber.key", "subscriber")
        ingest_key = load_stage_verify_key(shop.folder / "keys" / "ingest.pub", "ingest")
        gone = {hashes.pseudonym(user) for user in GONE}

        def recipients(found: list[dict[str, Any]]) -> Counter[str]:
            return Counter(open_sealed_id(key, one["sealed_id"], pseudonym=one["pseudonym"], verify_key=ingest_key) for one in found)

        views(shop, "one")
        before = lists(shop)
        assert {one["profiled"] for one in before} == {False}, "nobody has agreed yet"
        assert recipients(before) == Counter(SHOPPERS)
        assert shop.read("veilstream-profile-profiles-changelog") == []

        asyncio.run(publish(shop, topics.CONSENT_UPDATES, decisions(True, SHOPPERS)))
        shop.drain("ingest")
        time.sleep(1)  # what is promised: from message to effect
        views(shop, "two")
        agreed = [one for one in lists(shop) if one["profiled"]]
        assert recipients(agreed) == Counter(SHOPPERS) and all(one["trainable"] for one in agreed)

        async def withdraw() -> None:
            publishing = asyncio.create_task(publish(shop, topics.CONSENT_UPDATES, decisions(False, sorted(GONE)), over_s=3.0))
            await asyncio.sleep(1.5)
            await asyncio.to_thread(shop.kill, "ingest-2")
            await asyncio.to_thread(shop.kill, "profile")
            await publishing

        asyncio.run(withdraw())
        shop.start("ingest-2", "profile")
        shop.drain("ingest", "profile")
        time.sleep(1)
        views(shop, "three")
        assert shop.stop("ingest", "ingest-2", "profile") == {"ingest": 0, "ingest-2": 0, "profile": 0}

        # Each message once, in the order of its shopper's events.
        clean = [(r, CODECS.for_topic(topics.BEHAVIOUR_CLEAN).decode(r.value)) for r in shop.read(topics.BEHAVIOUR_CLEAN)]
        turns = [(record, event) for record, event in clean if event["event_type"] == CONSENT]
        assert max(Counter(record_id(record) for record, _ in turns).values()) == 1
        assert Counter(event["pseudonym"] for _, event in turns) == Counter({hashes.pseudonym(u): 1 + (u in GONE) for u in SHOPPERS})
        newest = {r.key: CODECS.for_topic(topics.CONSENT_DECISIONS).decode(r.value) for r in shop.read(topics.CONSENT_DECISIONS)}
        assert {one["pseudonym"] for one in newest.values() if not one["allowed"]} == gone and len(newest) == 2 * len(SHOPPERS)

        # Nothing is done for who withdrew, and nothing is left.
        last = [one for one in lists(shop) if one["trigger_event_id"] in {e["event_id"] for _, e in clean[-10 * len(SHOPPERS) :]}]
        third = {e["event_id"]: e for _, e in clean if e["item_id"] == "three"}
        assert {event["pseudonym"] for event in third.values()} == {hashes.pseudonym(u) for u in set(SHOPPERS) - GONE}
        unprofiled = [one for one in last if not one["profiled"]]
        assert recipients(unprofiled) == Counter({user: 1 + (user in GONE) for user in SHOPPERS})
        assert all(one["pseudonym"].startswith(NOBODY) for one in unprofiled)
        state = {key: value for _, key, value in states_of(shop, "profile") if is_profile(key)}
        profiles = {name.decode(): load_profile(value or b"") for name, value in state.items()}
        for name, profile in profiles.items():
            assert (not profile.items and not profile.issued and "personalization" in profile.refused) == (name in gone)
        assert not any(user.encode() in (r.value or b"") for topic in shop.all_topics() if "raw" not in topic and "updates" not in topic
                       for r in shop.read(topic.removeprefix("consent.")) for user in SHOPPERS)  # fmt: skip


def test_the_command_publishes_what_counts(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "consent-cli.", **SETTINGS) as shop:
        shop.start("ingest")
        said = shop.command(
            "consent", "王伟", "--allow", "personalization", "--refuse", "training,newsletter", "--policy-version", "7"
        ).stdout
        assert said.strip() == "published: personalization allowed, training refused, newsletter refused" and "王伟" not in said
        shop.command("consent", "browser-1", "--anonymous", "--allow", "training")
        (shop.folder / "answers.csv").write_text("ts,user,personalization,training\n2026-01-02,anna,yes,no\n2026-01-02,ben,,\n")
        done = shop.command("replay", "--consents", "answers.csv")
        assert "1 decisions on consent" in done.stdout and "names no purpose" in done.stderr
        shop.drain("ingest")
        found = [CODECS.for_topic(topics.CONSENT_DECISIONS).decode(r.value) for r in shop.read(topics.CONSENT_DECISIONS)]
        assert Counter((one["purpose"], one["allowed"], one["policy_version"]) for one in found) == Counter(
            {
                ("personalization", True, "7"): 1,
                ("training", False, "7"): 1,
                ("newsletter", False, "7"): 1,
                ("training", True, None): 1,
                ("personalization", True, None): 1,
                ("training", False, None): 1,
            }
        )
        assert 'veilstream_consents{decision="allowed",purpose="personalization"} 2.0' in shop.metrics("ingest")
        wrong = shop.command("consent", "anna", "--allow", "training", "--refuse", "training", check=False)
        assert wrong.returncode == 2 and "at once" in wrong.stderr
