"""What /readyz and the gauges tell, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streams.engine import health
from streams.engine.health import PATIENCE_S, Health
from streams.engine.metrics import StageMetrics
from streams.engine.state import Size


class Stage:
    """A stage's parts as ``Health`` sees them: all is well until a test says otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.registry = CollectorRegistry()
        self.metrics = StageMetrics(self.registry, "profile")
        self.again: list[tuple[int, str]] = []
        self.workers: dict[int, Any] = {n: self._worker(n) for n in range(2)}
        self.busy_not_owned: list[int] = []
        self.retrying: dict[tuple[str, int], int] = {}
        self.troubles: list[tuple[str, int, str, float]] = []
        self.age = 0.0
        self.end = self.position = 50
        self.is_moving = False
        self.recovery_left = 0
        self.runner: Any = SimpleNamespace(workers=self.workers, commit_trouble_since=None, busy_not_owned=lambda: self.busy_not_owned)
        fetcher = SimpleNamespace(end=lambda *_: self.end, position=lambda *_: self.position, troubles=lambda: self.troubles)
        follower: Any = SimpleNamespace(topic="catalog", age_s=lambda: self.age)
        self.health = Health(
            self.metrics, self.runner, self, fetcher, SimpleNamespace(retrying=self.retrying), [follower], lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip

    def _worker(self, number: int) -> Any:
        checkpoint = SimpleNamespace(is_sure=True, state_size=Size(3, 100), applied=lambda topic: 50, base=lambda topic: 0)
        return SimpleNamespace(
            topics=("clean",), failing_since=None, trouble="", busy_since=None, is_busy=False, checkpoint=checkpoint,
            oldest_waiting_ms=lambda topic: None, fetched_to=lambda topic: 50, fetch_again=lambda topic: self.again.append((number, topic)),
        )  # fmt: skip

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"veilstream_{name}", {"stage": "profile", **labels})


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_stage_in_order_is_ready(stage: Stage) -> None:
    stage.health.observe()
    assert stage.health.why_not_ready() is None
    assert stage.value("ready") == 1
    assert stage.value("lag_records", topic="clean", partition="0") == 0
    assert (stage.value("partitions_owned"), stage.value("state_values"), stage.value("state_bytes")) == (2, 6, 200)


def test_a_recovery_tells_what_is_left(stage: Stage) -> None:
    stage.is_moving, stage.recovery_left = True, 7000
    stage.health.observe()
    assert stage.value("recovery_records_left") == 7000 and stage.value("ready") == 0


def test_a_partition_that_fails_shows_after_a_while_and_names_what_fails(stage: Stage) -> None:
    stage.workers[1].failing_since, stage.workers[1].trouble = stage.now, "the encoder has no memory"
    assert stage.health.is_stuck
    assert stage.health.why_not_ready() is None
    stage.now += PATIENCE_S
    assert stage.health.why_not_ready() == "retrying for 10 s: partition 1: the encoder has no memory"
    stage.health.observe()
    assert stage.value("retrying_seconds", partition="1") == PATIENCE_S
    assert stage.value("retrying_seconds", partition="0") == 0
    assert stage.value("ready") == 0


def test_a_write_that_is_tried_again_shows(stage: Stage) -> None:
    stage.workers[0].busy_since, stage.workers[0].is_busy = stage.now, True
    stage.retrying[("recommendations", 3)] = 7
    stage.now += 75
    assert stage.health.is_stuck
    assert stage.health.why_not_ready() == "retrying for 75 s: partition 0: writing to recommendations/3 is tried again"


def test_a_long_batch_alone_is_no_trouble(stage: Stage) -> None:
    stage.workers[0].busy_since, stage.workers[0].is_busy = stage.now, True
    stage.now += 75
    assert stage.health.why_not_ready() is None


def test_commits_that_are_not_answered_show(stage: Stage) -> None:
    stage.runner.commit_trouble_since = stage.now
    stage.now += 30
    assert stage.health.why_not_ready() == "retrying for 30 s: commits are not answered"


def test_the_longest_trouble_is_told(stage: Stage) -> None:
    stage.troubles = [("clean", 1, "LEADER_NOT_AVAILABLE", stage.now - 60)]
    stage.runner.commit_trouble_since = stage.now - 30
    assert stage.health.why_not_ready() == "retrying for 60 s: clean/1 can't be fetched: LEADER_NOT_AVAILABLE"


def test_partitions_that_are_taken_over_show_at_once(stage: Stage) -> None:
    stage.workers[0].checkpoint.is_sure = False
    assert stage.health.why_not_ready() == "taking over: partition 0"
    stage.workers[1].checkpoint.is_sure = False
    assert stage.health.why_not_ready() == "taking over: partition 0 and 1 more"


def test_a_partition_given_away_and_still_busy_shows(stage: Stage) -> None:
    stage.busy_not_owned = [4]
    stage.health.observe()
    assert stage.value("partitions_busy_not_owned") == 1
    assert stage.health.why_not_ready() == "still processing partitions that were given to another worker: 4"


def test_an_old_read_model_shows(stage: Stage) -> None:
    stage.age = 59.0
    assert stage.health.why_not_ready() is None
    stage.age = 61.0
    stage.health.observe()
    assert stage.value("follower_age_seconds", topic="catalog") == 61.0
    assert stage.health.why_not_ready() == "the read model of catalog is 61 s old"


def test_lag_and_the_age_of_what_waits_are_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "time", SimpleNamespace(time=lambda: 1_000.0))
    stage.end = 75
    stage.workers[0].oldest_waiting_ms = lambda topic: 996_000
    stage.health.observe()
    assert stage.value("lag_records", topic="clean", partition="0") == 25
    assert stage.value("behind_seconds", topic="clean", partition="0") == pytest.approx(4)
    assert stage.value("behind_seconds", topic="clean", partition="1") == 0


def test_what_got_lost_after_fetching_is_fetched_again_for_as_long_as_it_takes(stage: Stage) -> None:
    stage.position = 60  # and the queue ends at 50
    for times in range(1, 20):
        stage.health.observe()  # the first look may come while it is on its way
        assert len(stage.again) == 2 * (times - 1)
        stage.health.observe()
        assert len(stage.again) == 2 * times
    stage.position = 50
    stage.health.observe()
    stage.health.observe()
    assert len(stage.again) == 38


@pytest.mark.parametrize("reason", ["busy", "moving", "taking over"])
def test_what_is_on_its_way_is_not_fetched_again(stage: Stage, reason: str) -> None:
    stage.position = 60
    stage.is_moving = reason == "moving"
    for partition_worker in stage.workers.values():
        partition_worker.is_busy, partition_worker.checkpoint.is_sure = reason == "busy", reason != "taking over"
    for _ in range(5):
        stage.health.observe()
    assert stage.again == []


def test_another_workers_partition_is_told_by_that_worker(stage: Stage) -> None:
    stage.health.observe()
    stage.workers[1].topics = ()
    stage.health.observe()
    assert stage.value("lag_records", topic="clean", partition="1") is None
    assert stage.value("lag_records", topic="clean", partition="0") == 0
