"""On Apache Kafka: who did nothing for longer than the shop keeps her is removed from states and changelogs, by the workers themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import deployed
from tests.support.publishing import now_ms, publish
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "1",
    "VEILSTREAM_CONSENT_DEFAULT": "all",
    "VEILSTREAM_SHOPPER_MAX_AGE_DAYS": "30",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
}
CHANGELOGS = ("veilstream-profile-profiles-changelog", "veilstream-feedback-outstanding-changelog")
DAY = 86_400_000


def test_old_shoppers_go_and_new_ones_stay(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "expiry.", **SETTINGS) as shop:
        shop.start("ingest", "profile", "feedback")
        hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))

        def views(*shoppers: tuple[str, int]) -> None:
            rows = [
                (who, {"event_type": "view", "user_id": who, "item_id": "tent", "occurred_at": now_ms() - days * DAY})
                for who, days in shoppers
            ]
            asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, rows))
            shop.drain("ingest", "profile", "feedback")

        views(("old-1", 90), ("old-2", 60), ("young", 20))
        shop.stop("profile", "feedback")  # a pass over the state comes once a day, and after a start
        shop.start("profile", "feedback")
        views(("new", 0))
        gone, kept = ({hashes.pseudonym(who).encode() for who in names} for names in (("old-1", "old-2"), ("young", "new")))

        def newest(name: str) -> dict[bytes | None, bytes | None]:
            return {record.key: record.value for record in shop.read(name)}

        for name in CHANGELOGS:
            wait_until(lambda name=name: not any(newest(name).get(key) for key in gone), f"the old ones leave {name}", seconds=90)
            assert all(newest(name).get(key) for key in kept), name
        for stage in ("profile", "feedback"):
            assert f'veilstream_state_expired_total{{stage="{stage}"}} 2.0' in shop.metrics(stage)
        assert set(shop.stop().values()) == {0}
