"""On Apache Kafka: no byte on a disk or in a changelog tells what a shopper did; old copies do not open for who was forgotten; a new state
key takes the place of the old one while the stages run; a wrong or missing key is named."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.stages.profile.profile import load_profile
from streams.stages.profile.together_counter import is_profile
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish
from tests.support.sealed_states import states_of
from tests.support.trainer_beside import pairs, trainer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "2",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "0",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "60",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
    "VEILSTREAM_RESEAL_PER_S": "5",
}
SHOPPERS = [f"shopper-{n:02}" for n in range(24)]
GONE = SHOPPERS[:6]
ITEMS = ["tent-4711", "stove-4712", "lamp-4713", "rope-4714"]
QUERY = "waterproof lantern"
SECRETS = [*(item.encode() for item in ITEMS), QUERY.encode(), b"lantern"]
STAGES = ("profile", "feedback", "learning")
RUN = ("ingest", "catalogue", *STAGES)


def folder_bytes(folder: Path) -> bytes:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files)


def shop_around(shop: Deployment, users: list[str]) -> None:
    """Some time ago, so that outcomes are known at once."""
    events = [
        (who, {"event_type": kind, "user_id": who, "occurred_at": now_ms() - 1_800_000, **what})
        for n, who in enumerate(users)
        for kind, what in (
            ("view", {"item_id": ITEMS[n % 4]}),
            ("search", {"query": QUERY}),
            ("cart", {"item_id": ITEMS[(n + 1) % 4]}),
        )
    ]
    asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, events))
    shop.drain("ingest", "profile", "feedback")


def metric(shop: Deployment, stage: str, name: str) -> float:
    found = re.search(rf'^veilstream_state_{name}{{stage="{stage}"}} (\S+)$', shop.metrics(stage), re.MULTILINE)
    assert found is not None, f"{stage} does not tell {name}"
    return float(found.group(1))


def ends_with(shop: Deployment, stage: str) -> str:
    """What a stage says that can't go on."""
    shop.start(stage, ready=False)
    assert shop.processes.pop(stage).wait(90) == 1
    return shop.log(stage).read_text()[-3000:]


def test_what_lies_on_disks_and_in_changelogs(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "at-rest.", **SETTINGS) as shop:
        asyncio.run(publish(shop, topics.CATALOGUE_ITEMS, [(item, {"item_id": item, "title": f"a {item}"}) for item in ITEMS]))
        shop.start(*RUN)
        shop.drain("catalogue")
        shop_around(shop, SHOPPERS)
        hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
        gone, kept = ({hashes.pseudonym(who).encode() for who in some} for some in (GONE, set(SHOPPERS) - set(GONE)))

        # While the stages run: nothing of a shopper in any byte, though all of it is there for who has the keys.
        state = {key: load_profile(value) for _, key, value in states_of(shop, "profile") if is_profile(key) and value is not None}
        assert state.keys() == gone | kept and all(QUERY in profile.queries for profile in state.values())
        with trainer(shop):
            wait_until(lambda: pairs(shop) > 0, "no pair is in the trainer's store", seconds=120)
            assert not [word for word in SECRETS if word in folder_bytes(shop.folder / "trainer")]
        for stage in STAGES:
            assert not [word for word in SECRETS if word in folder_bytes(shop.folder / "state" / stage)], stage
        sealed = [name for name in shop.all_topics() if name.endswith(("-changelog", "-keys")) and "catalogue" not in name]
        assert len(sealed) == 5
        for name in sealed:
            found = b"".join((r.key or b"") + (r.value or b"") for r in shop.read(name.removeprefix(shop.prefix)))
            assert found and not [word for word in SECRETS if word in found], name
        assert any(ITEMS[0].encode() in (r.value or b"") for r in shop.read(topics.BEHAVIOUR_CLEAN)), "the search finds what is there"

        # A copy of the disk is made, shoppers are forgotten, and the copy is put back.
        assert metric(shop, "profile", "data_keys") == len(SHOPPERS)
        shop.stop("profile", "feedback")
        shutil.copytree(shop.folder / "state", tmp_path / "copy")
        shop.start("profile", "feedback")
        requests = [(who, {"user_id": who, "request_id": f"r-{n}", "requested_at": now_ms()}) for n, who in enumerate(GONE)]
        asyncio.run(publish(shop, topics.PRIVACY_ERASURE, requests))
        shop.drain("ingest", "profile", "feedback")
        done = shop.command("forget", GONE[0], "--request-id", "again", "--wait", "60")
        assert "no stage holds the shopper any more" in done.stdout
        shop.drain("ingest", "profile", "feedback")
        for stage in ("profile", "feedback"):
            opens = {key for _, key, value in states_of(shop, stage, every=True) if value is not None and not key.startswith(b"\0")}
            closed = {key for _, key, value in states_of(shop, stage, every=True) if value is None}
            assert opens == kept and closed == gone, f"{stage}: of all that was ever in the changelog"
        assert metric(shop, "profile", "data_keys") == len(kept)
        shop.stop("profile", "feedback")
        shutil.rmtree(shop.folder / "state" / "profile")
        shutil.copytree(tmp_path / "copy" / "profile", shop.folder / "state" / "profile")
        shop.start("profile", "feedback")
        shop_around(shop, [GONE[1], SHOPPERS[9]])
        back = json.loads(shop.command("export", GONE[1]).stdout)["states"]["profile"]
        assert len(back["items"]) == 2 and back["queries"].keys() == {QUERY}

        # Another state key, while the stages run.
        shop.command("keys", "generate", "--only", "state", "--key-id", "s2")
        shop.stop(*STAGES)
        shop.start(*STAGES)
        shop.command("keys", "use", "s2")
        shop.stop(*STAGES)
        shop.start(*STAGES)
        for stage in STAGES:
            wait_until(lambda stage=stage: metric(shop, stage, "unmoved_partitions") == 0, f"{stage} does not move its values", seconds=120)  # type: ignore[misc]
        (shop.folder / "keys" / "state-s1.key").rename(shop.folder / "s1")
        shop.stop(*STAGES)
        shutil.rmtree(shop.folder / "state" / "profile")
        shop.start(*STAGES)
        shop_around(shop, SHOPPERS[9:])
        assert json.loads(shop.command("export", SHOPPERS[9]).stdout)["states"]["profile"]["queries"].keys() == {QUERY}

        # Keys that are missing or wrong.
        shop.stop("profile", "feedback")
        (shop.folder / "keys" / "state.key").rename(shop.folder / "s2")
        shop.command("keys", "generate", "--only", "state", "--key-id", "s9")
        said = ends_with(shop, "feedback")
        assert "sealed under the state key 's2', which the keys folder does not hold; put it back as state-s2.key" in said
        (shop.folder / "keys" / "state.key").unlink()
        assert "sealed under the state key 's2', and the keys folder has no state.key" in ends_with(shop, "feedback")


def test_a_plain_state_is_sealed_while_the_stages_run(kafka: ApacheKafka, tmp_path: Path) -> None:
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "at-rest-plain.", **SETTINGS) as shop:
        (shop.folder / "keys" / "state.key").unlink()
        asyncio.run(publish(shop, topics.CATALOGUE_ITEMS, [(item, {"item_id": item, "title": f"a {item}"}) for item in ITEMS]))
        shop.start("ingest", "catalogue", "profile", "feedback")
        shop.drain("catalogue")
        shop_around(shop, SHOPPERS)
        assert "its state is not sealed" in shop.log("profile").read_text()
        shop.stop("profile", "feedback")
        shop.command("keys", "generate", "--only", "state")
        assert "VEILSTREAM_SEAL_STATE=migrate" in ends_with(shop, "feedback")
        shop.own = {name: {"VEILSTREAM_SEAL_STATE": "migrate"} for name in ("profile", "feedback")}
        shop.start("profile", "feedback")
        shop_around(shop, SHOPPERS[:3])
        for stage in ("profile", "feedback"):
            wait_until(lambda stage=stage: metric(shop, stage, "unmoved_partitions") == 0, f"{stage} does not seal its values", seconds=120)  # type: ignore[misc]
        shop.stop("profile", "feedback")
        shop.own = {}
        shop.start("profile", "feedback")
        shop_around(shop, SHOPPERS)
        state = {key: load_profile(value) for _, key, value in states_of(shop, "profile") if is_profile(key) and value is not None}
        assert len(state) == len(SHOPPERS) and all(len(profile.items) == 2 for profile in state.values())
