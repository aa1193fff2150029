"""kill -9 of a worker that appends a link for every record, again and again: each link is there once, and every chain is whole."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from streams import topics
from streams.serde.codec import local_codecs
from tests.delivery.test_bad_days import Row, Toy
from tests.support.deployment import Deployment
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EVENTS, KILLS = 8000, 4
CODEC = local_codecs().for_topic(topics.PRIVACY_AUDIT)


@pytest.mark.parametrize("seed", range(2))
def test_every_link_once(deployment: Deployment, seed: int) -> None:
    toy, rng = Toy(deployment), random.Random(seed)
    settings = {"AUDIT": "yes", "VEILSTREAM_COMMIT_INTERVAL_S": "0.3", "VEILSTREAM_FETCH_MAX_RECORDS": "20"}
    for _ in range(KILLS):
        toy.start(**settings)
        rows: list[Row] = [(n % 4, f"k{n % 37}".encode(), b"v") for n in range(EVENTS // KILLS)]
        toy.produce(rows)
        time.sleep(rng.uniform(0.05, 0.8))
        deployment.kill("a")
    toy.start(**settings)
    links = [CODEC.decode(record.value) for record in wait_for_links(deployment)]
    assert len({link["subject"] for link in links}) == len(links) == EVENTS
    done = deployment.command("audit", "verify", "--json")
    assert json.loads(done.stdout) == {"right": True, "records": EVENTS, "links": EVENTS, "chains": 4, "wrong": {}}
    assert "already written" in deployment.log("a").read_text(), "no kill came between a write and its commit: it shows nothing"


def wait_for_links(deployment: Deployment) -> list[Any]:
    found: list[Any] = []

    def all_there() -> bool:
        found[:] = deployment.read(topics.PRIVACY_AUDIT)
        return len(found) >= EVENTS

    wait_until(all_there, lambda: (len(found), deployment.log("a").read_text()[-2000:]), seconds=120, every_s=0.5)
    return found
