"""The pseudonym key is rotated on Apache Kafka, with two workers of each stage that are killed meanwhile: nothing is lost, nothing is
doubled, nothing that a reader of the clean topics has joins old and new, and afterwards nobody can."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.moves import moves_reader
from streams.privacy.pseudonym import Pseudonymizer
from streams.ranking.rules import ProfileRules
from streams.serde import local_codecs
from streams.settings import Settings
from streams.simulator.accounting import record_id
from streams.stages.feedback.ledger import Shopper
from streams.stages.feedback.ledger import load as load_shopper
from streams.stages.feedback.moves import FeedbackMove
from streams.stages.profile.links import whole_of
from streams.stages.profile.moves import ProfileMove
from streams.stages.profile.profile import Profile, load_profile
from streams.stages.profile.withdrawal import is_held_back
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish
from tests.support.sealed_states import states_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
CODECS = local_codecs()
RULES = ProfileRules.from_settings(Settings())
ITEMS = [f"item-{n:02}" for n in range(24)]
SHOPPERS = range(40)
COME, LISTED = range(30), range(30, 35)
"""Who shows up in the overlap, and whom an operator names; of the others nobody hears."""
REFUSE, ERASED = {3, 13, 23}, {5, 15, 31}
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "4",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_TOP_K": "5",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "3600",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
    "VEILSTREAM_FETCH_MAX_RECORDS": "10",
}


def user(n: int) -> str:
    return f"customer-no-{n:04}"


def before(n: int) -> set[str]:
    return {ITEMS[(n + step) % len(ITEMS)] for step in (0, 5, 11)}


def view(n: int, item: str, name: str) -> tuple[str, dict[str, object]]:
    return user(n), {"event_type": "view", "user_id": user(n), "item_id": item, "event_id": f"{name}-{n}-{item}", "occurred_at": now_ms()}


def newest(shop: Deployment, stage: str) -> dict[str, bytes]:
    return {key.decode(): value for _, key, value in states_of(shop, stage) if value is not None and not key.startswith(b"\0")}


def test_a_rotation_while_workers_are_killed(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "rotation.", **SETTINGS) as shop:
        asyncio.run(publish(shop, topics.CATALOGUE_ITEMS, [(name, {"item_id": name, "title": f"thing {name}"}) for name in ITEMS]))
        shop.start("ingest", "catalogue", "profile", "feedback")
        shop.drain("catalogue")
        asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, [view(n, item, "old") for n in SHOPPERS for item in sorted(before(n))]))
        shop.drain("ingest", "profile", "feedback")
        refusals = [(user(n), {"user_id": user(n), "purposes": {"personalization": False}, "updated_at": now_ms()}) for n in REFUSE]
        asyncio.run(publish(shop, topics.CONSENT_UPDATES, refusals))
        shop.drain("ingest", "profile", "feedback")
        shop.stop("profile", "feedback", "ingest")
        keys = shop.folder / "keys"
        old = Pseudonymizer(load_pseudonym_key(keys / "pseudonym.key"))
        shop.command("keys", "rotate")
        new = Pseudonymizer(load_pseudonym_key(keys / "pseudonym.key"))
        listed = shop.command("keys", "list").stdout
        assert "pseudonym.old.key" in listed and "k2" in listed
        shop.start("profile", "profile-2", "feedback", "feedback-2", "ingest", "ingest-2")

        async def overlap() -> None:
            events = [view(n, ITEMS[(n + 2) % 24], "new") for n in COME]
            publishing = asyncio.create_task(publish(shop, topics.BEHAVIOUR_RAW, events, over_s=4.0))
            await asyncio.sleep(1.5)
            for stage in ("profile-2", "ingest-2", "feedback-2"):
                await asyncio.to_thread(shop.kill, stage)
            await publishing

        asyncio.run(overlap())
        for copy in ("profile-2", "feedback-2", "ingest-2"):
            shutil.rmtree(shop.folder / "state2", ignore_errors=True)
            shop.start(copy, ready=False)
        (shop.folder / "silent.txt").write_text("".join(f"{user(n)}\n" for n in LISTED))
        assert "published 5 requests" in shop.command("keys", "move", "silent.txt").stdout
        shop.drain("ingest", "profile", "feedback")
        # A producer repeats itself, and a shopper is announced again where a worker was restarted.
        asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, [view(n, ITEMS[(n + 2) % 24], "new") for n in COME]))
        requests = [(user(n), {"user_id": user(n), "request_id": f"r-{n}", "requested_at": now_ms()}) for n in ERASED]
        asyncio.run(publish(shop, topics.PRIVACY_ERASURE, requests))
        for _ in range(2):  # moves come behind what caused them
            shop.drain("ingest", "profile", "feedback")

        of_old, of_new = {old.pseudonym(user(n)): n for n in SHOPPERS}, {new.pseudonym(user(n)): n for n in SHOPPERS}
        profiles = {name: load_profile(data) for name, data in newest(shop, "profile").items()}
        moved_on = {*COME, *LISTED} - ERASED
        # Nothing is lost, and nothing doubled.
        for name, n in of_new.items():
            if n in ERASED or n in REFUSE or n not in moved_on:
                continue
            seen = before(n) | ({ITEMS[(n + 2) % 24]} if n in COME else set())
            assert set(whole_of(profiles[name], RULES).items) == seen, n
        for n in REFUSE:
            assert is_held_back(profiles[new.pseudonym(user(n))]) and not whole_of(profiles[new.pseudonym(user(n))], RULES).items
        for n in ERASED:
            assert new.pseudonym(user(n)) not in profiles and old.pseudonym(user(n)) not in profiles
        for name, n in of_old.items():
            if n in moved_on:
                assert profiles[name] == Profile(applied_offset=profiles[name].applied_offset, was_moved=True), n
        shoppers = {name: load_shopper(data) for name, data in newest(shop, "feedback").items()}
        for n in set(COME) - ERASED - REFUSE:
            assert {past.ref for past in shoppers[new.pseudonym(user(n))].moved} == before(n)
        for n in ERASED:
            assert not shoppers.get(new.pseudonym(user(n)), Shopper()).moved

        records = shop.read(topics.PRIVACY_MOVES)
        assert max(Counter(map(record_id, records)).values()) == 1
        sealer = moves_reader(keys).sealer
        assert sealer is not None
        values = [CODECS.for_topic(topics.PRIVACY_MOVES).decode(record.value) for record in records]
        states = [sealer.open("profile", v["sealed"], ProfileMove) for v in values if v["stage"] == "profile"]
        once = Counter(move.old for move in states if move.what == "state")
        assert once == Counter({name: 1 for name, n in of_old.items() if n in {*COME, *LISTED}}), "each moved once"
        pasts = [sealer.open("feedback", v["sealed"], FeedbackMove) for v in values if v["stage"] == "feedback"]
        assert max(Counter(move.old for move in pasts if move.what == "state").values()) == 1

        # Nobody without the key joins old and new: no record of any topic, and no state, has both.
        for topic in shop.all_topics():
            if topic.removeprefix(shop.prefix) in (topics.BEHAVIOUR_RAW, topics.CONSENT_UPDATES, topics.PRIVACY_ERASURE):
                continue
            for record in shop.read(topic.removeprefix(shop.prefix)):
                written = b"\n".join([record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)])
                assert not (b"k1." in written and b"k2." in written), topic
                assert b"customer-no-" not in written or topic.endswith("__assignor-__leader"), topic

        # The end: what is left is told first.
        left = shop.command("keys", "retire", check=False)
        told = [line.split(" not moved")[0] for line in left.stdout.splitlines()]
        assert left.returncode == 1 and told == ["state of profile: 5", "state of feedback: 5", "consent.decisions: 0"], left.stdout
        assert (keys / "pseudonym.old.key").exists()
        shop.command("keys", "retire", "--force")
        assert not (keys / "pseudonym.old.key").exists() and not (keys / "moves.key").exists()
        shop.stop("ingest", "profile", "feedback")
        shop.start("ingest", "profile", "feedback")
        asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, [view(39, ITEMS[0], "late")]))
        shop.drain("ingest", "profile", "feedback")
        clean = [CODECS.for_topic(topics.BEHAVIOUR_CLEAN).decode(record.value) for record in shop.read(topics.BEHAVIOUR_CLEAN)]
        assert clean and not any(e["event_type"] == "move" for e in clean if e["pseudonym"] == new.pseudonym(user(39)))
        profiles = {name: load_profile(data) for name, data in newest(shop, "profile").items()}
        assert set(profiles[new.pseudonym(user(39))].items) == {ITEMS[0]}, "whoever did not move begins anew"
        actions = shop.command("audit", "show", "--json").stdout
        assert '"key_rotated"' in actions and '"key_retired"' in actions
