"""A worker of this version lacks nothing that the page reads; an older one, and one that is away, are named with what to do."""

from __future__ import annotations

from importlib.metadata import version
from time import monotonic

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from streams.app import STAGES
from streams.console.addresses import addresses
from streams.console.flow import FlowHistory, flow_view
from streams.console.samples import Readings, parse
from streams.console.workers import missing_in, stages_of, workers_view
from streams.engine.metrics import StageMetrics
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError
from tests.support.console_pages import worker_registry


@pytest.mark.parametrize("stage", [*STAGES, "trainer"])
def test_a_worker_of_this_version_lacks_nothing(stage: str) -> None:
    """Whoever renames a metric that the page reads is told here."""
    scrape = parse(generate_latest(worker_registry(stage)).decode(), 0.0)
    assert stages_of(scrape) == [stage]
    assert missing_in(scrape) == []


def old_registry() -> CollectorRegistry:
    """A worker from before most metrics were there."""
    registry = CollectorRegistry()
    Counter("veilstream_records_total", "n", ["stage"], registry=registry).labels("profile").inc(7)
    return registry


def readings_of(**registries: CollectorRegistry) -> Readings:
    readings = Readings()
    for name, registry in registries.items():
        readings.take(name, parse(generate_latest(registry).decode(), 0.0))
    return readings


def test_each_state_of_a_worker_is_told() -> None:
    readings = readings_of(new=worker_registry("profile"), old=old_registry(), other=CollectorRegistry())
    asked = {"new": None, "old": None, "other": None, "away": "connection refused"}
    rows = {row.address: row for row in workers_view(asked, readings)}
    assert {name: row.state for name, row in rows.items()} == {"new": "ok", "old": "old", "other": "other", "away": "away"}
    assert "veilstream_lag_records" in rows["old"].missing and "veilstream_records" not in rows["old"].missing
    assert rows["away"].problem == "connection refused"
    assert (rows["new"].version, rows["old"].version) == (version("veilstream"), "")


def test_a_stage_that_is_not_ready_is_starting() -> None:
    registry = CollectorRegistry()
    StageMetrics(registry, "catalogue")
    readings = readings_of(a=registry)
    rows = workers_view({"a": None}, readings)
    assert rows[0].state == "starting"
    flow = flow_view(readings, rows, FlowHistory())
    assert {stage.name: stage.state for stage in flow.stages} == dict.fromkeys(STAGES, "away") | {
        "catalogue": "starting",
        "trainer": "none",
    }


def test_an_old_worker_leaves_gaps_and_breaks_nothing() -> None:
    readings = readings_of(old=old_registry())
    flow = flow_view(readings, workers_view({"old": None}, readings), FlowHistory())
    (profile,) = [stage for stage in flow.stages if stage.name == "profile"]
    assert (profile.workers, profile.lag, profile.behind_s, profile.p50_ms) == (1, None, None, None)


def test_a_stage_far_behind_is_told() -> None:
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "ingest")
    metrics.ready.set(1)
    metrics.lag("behaviour.raw", 0, 40)
    metrics.lag("behaviour.raw", 1, 2)
    metrics.behind("behaviour.raw", 0, 31.0)
    readings = readings_of(a=registry)
    stage = flow_view(readings, workers_view({"a": None}, readings), FlowHistory()).stages[0]
    assert (stage.state, stage.lag, stage.behind_s) == ("behind", 42.0, 31.0)
    metrics.retrying(0, 11.0)
    readings = readings_of(a=registry)
    assert flow_view(readings, workers_view({"a": None}, readings), FlowHistory()).stages[0].state == "retrying"


@pytest.mark.parametrize("text", ["worker", "worker:0", "worker:70000", "worker:2-1", "http://worker:80", "a:1-501", "w:1,x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_CONSOLE_WORKERS must be HOST:PORT"):
        addresses(text)


def test_an_address_counts_once() -> None:
    assert addresses("a:1-2,a:2, b:7,") == [("a", 1), ("a", 2), ("b", 7)]


def test_latency_is_of_records_and_of_an_older_worker_of_batches() -> None:
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "ingest")
    readings = readings_of(a=registry)
    metrics.handler_seconds.observe(0.002)
    readings.take("a", parse(generate_latest(registry).decode(), 10.0))
    batch = flow_view(readings, [], FlowHistory()).stages[0]
    assert batch.p50_ms is not None and 1 <= batch.p50_ms <= 2.5
    metrics.on_settled("behaviour.raw", [MemoryRecord("behaviour.raw", 0, n, 0, None, None) for n in range(5)], monotonic() - 0.08)
    readings.take("a", parse(generate_latest(registry).decode(), 20.0))
    record = flow_view(readings, [], FlowHistory()).stages[0]
    assert record.p50_ms is not None and 50 <= record.p50_ms <= 100
