"""A worker with a registry of schemas: it starts and works while the registry is away, once it has been there before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.http_registry import serving
from tests.support.waiting import wait_until

EVENTS = "ts,user,event_type,item\n" + "".join(f"2024-01-0{day}T10:00:00Z,u{day},view,i1\n" for day in range(1, 6))


@pytest.mark.kafka
def test_a_worker_starts_and_works_while_the_registry_is_away(kafka: ApacheKafka, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    replay = ("replay", "--events", str(tmp_path / "events.csv"), "--as-fast-as-possible")
    with (
        serving() as registry,
        deployed(tmp_path / "d", kafka.bootstrap_servers, "away.", VEILSTREAM_REGISTRY_URL=registry.url) as deployment,
    ):
        deployment.start("ingest")
        deployment.command(*replay)
        wait_for(deployment, 5)
        assert deployment.stop() == {"ingest": 0}
        registry.may_answer.clear()  # it hangs, which is worse than to be gone
        deployment.start("ingest")
        assert "the cached id of away.behaviour.raw-value is used" in deployment.log("ingest").read_text()
        deployment.command(*replay)
        wait_for(deployment, 5)
        assert deployment.stop() == {"ingest": 0}


def wait_for(deployment: Deployment, count: int) -> None:
    line = f'veilstream_records_total{{stage="ingest"}} {count}.0'
    wait_until(lambda: line in deployment.metrics("ingest"), lambda: deployment.log("ingest").read_text()[-2000:])
