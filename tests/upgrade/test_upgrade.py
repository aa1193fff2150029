"""On Apache Kafka: a shop of the release before becomes one of this, by the steps that the changelog names, while it stays open.

Nothing is lost, nothing is doubled, what was known of the shoppers stays, and what lay plain on the disks is sealed in the end.

``veilstream-*.whl`` is that release, made of its commit with ``pip wheel --no-deps .``; its libraries are today's.
"""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from streams import topics
from streams.serde.codec import local_codecs
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish
from tests.support.trainer_beside import pairs, trainer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
WHEEL = next(Path(__file__).parent.glob("veilstream-*.whl"))
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "2",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "60",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
    "VEILSTREAM_K": "1",
    "VEILSTREAM_METRICS_HOST": "127.0.0.1",
}
SHOPPERS = [f"shopper-{n:02}" for n in range(20)]
COLOURS, THINGS = (
    ("red", "blue", "green", "红色", "白色"),
    ("tent", "stove", "lamp", "rope", "boots", "背包", "帐篷", "睡袋", "水壶", "手套"),
)
ITEMS = {f"item-{n}": f"{COLOURS[n % 5]} {THINGS[n // 5 % 10]} {n}" for n in range(100)}
"""More than all lists together have places: what was recommended is not recommended again soon."""
STATEFUL = ("profile", "feedback", "learning")


class Shop:
    """What was published, and how often each came out."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.published = 0

    def events(self, kind: str, item: int, *, drain: bool = True) -> None:
        """One of each shopper, some time ago, so that outcomes are known at once."""
        at = now_ms() - 1_800_000
        event = {"event_type": kind, "item_id": f"item-{item}"}
        rows = [(who, {**event, "user_id": who, "occurred_at": at + n}) for n, who in enumerate(SHOPPERS)]
        asyncio.run(publish(self.deployment, topics.BEHAVIOUR_RAW, rows))
        self.published += len(rows)
        if drain:
            self.deployment.drain()

    def clean(self) -> list[dict[str, Any]]:
        return self._read(topics.BEHAVIOUR_CLEAN)

    def recommendations(self) -> list[dict[str, Any]]:
        return self._read(topics.RECOMMENDATIONS)

    def _read(self, topic: str) -> list[dict[str, Any]]:
        codec = local_codecs().for_topic(topic)
        return [cast("dict[str, Any]", codec.decode(record.value, record.headers)) for record in self.deployment.read(topic)]

    def uses(self, settings: Mapping[str, str]) -> None:
        self.deployment.settings = settings


def mend(kafka: ApacheKafka, findings: str) -> None:
    """Runs the commands that `topics check` prints."""
    commands = re.findall(r"^BAD .*; kafka-configs\.sh (.+)$", findings, re.MULTILINE)
    assert len(commands) == findings.count("BAD ") > 0, findings
    for command in commands:
        kafka.run("kafka.admin.ConfigCommand", *command.split())


def unmoved(shop: Deployment, stage: str) -> float:
    found = re.search(rf'^veilstream_state_unmoved_partitions{{stage="{stage}"}} (\S+)$', shop.metrics(stage), re.MULTILINE)
    assert found is not None
    return float(found.group(1))


def test_from_the_release_before(kafka: ApacheKafka, tmp_path: Path) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(tmp_path / "old")
    old = {**SETTINGS, "PYTHONPATH": str(tmp_path / "old")}
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "upgrade.", **old) as deployment:
        shop = Shop(deployment)
        version = deployment.command("--version").stdout
        assert WHEEL.name.split("-")[1] in version, "the old release runs"
        asyncio.run(
            publish(deployment, topics.CATALOGUE_ITEMS, [(item, {"item_id": item, "title": title}) for item, title in ITEMS.items()])
        )
        deployment.start("ingest", "catalogue", *STATEFUL)
        deployment.drain("catalogue")
        shop.events("view", 0)
        shop.events("cart", 1)
        with trainer(deployment):
            wait_until(lambda: pairs(deployment) > 0, "the old trainer takes pairs in", seconds=90)
        learnt = pairs(deployment)
        before = len(shop.recommendations())
        assert before > 0

        # The steps of CHANGELOG.md, while events go on coming.
        shop.uses(SETTINGS)
        assert version != deployment.command("--version").stdout
        deployment.command("keys", "generate", "--only", "state")
        deployment.command("topics", "create")
        shop.events("click", 2, drain=False)
        assert set(deployment.stop(*STATEFUL).values()) == {0}
        shop.events("wishlist", 2, drain=False)
        shop.uses({**SETTINGS, "VEILSTREAM_SEAL_STATE": "migrate"})
        deployment.start(*STATEFUL)
        shop.events("view", 3)
        for stage in STATEFUL:
            wait_until(lambda stage=stage: unmoved(deployment, stage) == 0, f"{stage} seals its old state", seconds=90)
        with trainer(deployment):
            wait_until(lambda: pairs(deployment) > learnt, "the trainer goes on with the old store", seconds=90)
        learnt = pairs(deployment)
        shop.uses(SETTINGS)
        for stage in ("catalogue", "ingest"):
            assert deployment.stop(stage) == {stage: 0}
            shop.events("purchase", 3, drain=False)
            deployment.start(stage)
        assert set(deployment.stop(*STATEFUL).values()) == {0}
        deployment.start(*STATEFUL)
        shop.events("view", 0)
        with trainer(deployment):
            wait_until(lambda: pairs(deployment) > learnt, "the trainer goes on with its sealed store", seconds=90)

        assert Counter(event["event_type"] for event in shop.clean()) == {
            "view": 3 * len(SHOPPERS),
            "cart": len(SHOPPERS),
            "click": len(SHOPPERS),
            "wishlist": len(SHOPPERS),
            "purchase": 2 * len(SHOPPERS),
        }
        lists = shop.recommendations()
        ids = [one["recommendation_id"] for one in lists]
        assert len(set(ids)) == len(ids) and len(ids) > before
        # The last list of each shopper still knows what she did under the old release.
        last = {one["pseudonym"]: one for one in sorted(lists, key=lambda one: one["created_at"])}
        assert len(last) == len(SHOPPERS)
        for one in last.values():
            assert "item-1" in {reason["item_id"] for item in one["items"] for reason in item["reasons"]}
        letters = deployment.read(topics.DEAD_LETTER)
        assert letters == []
        mend(kafka, deployment.command("topics", "check", check=False).stdout)
        deployment.command("topics", "check")
        assert set(deployment.stop().values()) == {0}
