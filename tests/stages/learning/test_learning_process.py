"""A worker of the learning stage, on a broker: it asks for one round, and a killed one does not ask again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.broker.embedded import EmbeddedBroker
from streams.topics import TRAINING_CONTROL
from tests.support.deployment import Deployment, deployed
from tests.support.learning_harness import pairs
from tests.support.learning_process import WAIT_S, publish, values, wait_for_tally
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Deployment]:
    settings = {"VEILSTREAM_IDEMPOTENT_PRODUCER": "false", "VEILSTREAM_PARTITIONS": "2", "VEILSTREAM_TRAINING_MIN_PAIRS": "50"}
    with EmbeddedBroker() as broker, deployed(tmp_path / "shop", broker.bootstrap_servers, "", **settings) as deployment:
        yield deployment


def test_one_round_is_asked_for_whoever_is_killed(shop: Deployment) -> None:
    shop.start("learning")
    publish(shop, pairs(range(30), 0))
    publish(shop, pairs(range(10), 1))
    wait_for_tally(shop, 40)
    assert not values(shop, TRAINING_CONTROL)
    publish(shop, pairs(range(30, 50), 0))
    asked = wait_until(
        lambda: values(shop, TRAINING_CONTROL), lambda: shop.log("learning").read_text()[-3000:], seconds=WAIT_S, every_s=0.2
    )
    shop.kill("learning")
    publish(shop, pairs(range(50, 150), 0))
    shop.start("learning")
    wait_for_tally(shop, 160)
    time.sleep(8)  # the timer has had its turn
    assert values(shop, TRAINING_CONTROL) == asked
    (request,) = asked
    assert (request["state"], request["cause"], request["pairs"]) == ("requested", "pairs", 60)
    assert "veilstream_training_running 1.0" in shop.metrics("learning")
    assert shop.stop() == {"learning": 0}
