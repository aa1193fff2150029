"""The gauges of the trigger: what is not told again is not shown for long, since another worker decides by then."""

from __future__ import annotations

import time
from math import isnan

from prometheus_client import CollectorRegistry, generate_latest

from streams.engine.learning_metrics import LearningMetrics
from streams.engine.metrics import StageMetrics
from streams.engine.records import MemoryRecord, OutputRecord
from streams.errors import Reason
from streams.topics import FEEDBACK

NAMES = ("new_pairs", "score_stability", "ignored_share", "running")


def test_what_the_trigger_sees_grows_old() -> None:
    registry, seconds, unreadable = CollectorRegistry(), [100.0], [0]
    metrics = LearningMetrics(registry, lambda: unreadable[0], lambda: seconds[0])

    def shown() -> list[float]:
        return [registry.get_sample_value(f"veilstream_training_{name}") or 0.0 for name in NAMES]

    assert all(isnan(value) for value in shown()), "this worker has not decided yet"
    metrics.situation(700, 0.04, 0.5, True)
    assert shown() == [700, 0.04, 0.5, 1]
    seconds[0] += LearningMetrics.FRESH_S - 1
    metrics.situation(800, 0.04, 0.5, False)
    seconds[0] += LearningMetrics.FRESH_S - 1
    assert shown()[0] == 800
    seconds[0] += 1
    assert all(isnan(value) for value in shown()), "it has lost the partition that decides"


def test_requests_are_counted_by_cause_and_what_is_unreadable_as_it_is_now() -> None:
    registry, unreadable = CollectorRegistry(), [0]
    metrics = LearningMetrics(registry, lambda: unreadable[0])
    metrics.requested("drift")
    unreadable[0] = 3
    assert registry.get_sample_value("veilstream_training_requests_total", {"cause": "drift"}) == 1
    assert registry.get_sample_value("veilstream_training_unreadable_records") == 3


def test_what_a_record_counts_is_counted_when_it_is_written() -> None:
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "feedback")
    outcomes = (("click", "behaviour", "v1"), ("ignored", "behaviour", "v1"), ("ignored", "behaviour", "v1"))
    metrics.on_written([OutputRecord(FEEDBACK, b"k", b"v", b"i" * 16, 0, counts=outcomes), OutputRecord(FEEDBACK, b"k", b"v", b"j" * 16)])
    labels = {"policy": "behaviour", "model_version": "v1"}
    assert registry.get_sample_value("veilstream_outcomes_total", labels | {"outcome": "ignored"}) == 2
    assert registry.get_sample_value("veilstream_outcomes_total", labels | {"outcome": "click"}) == 1
    assert registry.get_sample_value("veilstream_outputs_total", {"stage": "feedback"}) == 2


def test_how_long_records_take_is_told_by_their_own_times_only_where_these_are_exact() -> None:
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "feedback")
    now_ms = int(time.time() * 1000)
    records = [MemoryRecord("x", 0, n, now_ms - 2000, None, b"") for n in range(3)]
    metrics.on_settled("p.recommendations", records, time.monotonic() - 0.2)
    metrics.on_settled("p.behaviour.clean", records, time.monotonic() - 0.2)
    latency = {"stage": "feedback", "topic": "p.recommendations"}
    assert registry.get_sample_value("veilstream_latency_seconds_bucket", latency | {"le": "1.0"}) == 0
    assert registry.get_sample_value("veilstream_latency_seconds_bucket", latency | {"le": "2.5"}) == 3
    assert registry.get_sample_value("veilstream_latency_seconds_count", latency | {"topic": "p.behaviour.clean"}) is None
    assert registry.get_sample_value("veilstream_record_seconds_count", {"stage": "feedback"}) == 6
    assert registry.get_sample_value("veilstream_record_seconds_bucket", {"stage": "feedback", "le": "0.1"}) == 0


def test_an_answer_with_all_series_takes_little_processor_time() -> None:
    """Of twelve partitions, with every label that is known: 99 of 100 within 50 ms."""
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "profile")
    for topic in ("behaviour.clean", "profile.links", "privacy.moves"):
        for partition in range(12):
            metrics.lag(topic, partition, 7)
            metrics.retrying(partition, 1.0)
            metrics.follower_age(topic, 1.0)
    for reason in Reason:
        metrics.on_dropped(reason.value)
    times = []
    for _ in range(200):
        begun = time.thread_time()
        text = generate_latest(registry)
        times.append(time.thread_time() - begun)
    assert len(text.splitlines()) > 200
    assert sorted(times)[197] < 0.05
