"""The metrics that every stage has, each defined once. Labels never hold data of a record."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from platform import python_version
from time import monotonic, time_ns
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.engine.bulk_histogram import BulkHistogram
from streams.engine.records import OutputRecord, Shown, SourceRecord, UnreadableRecord
from streams.engine.shown import ShownMetrics
from streams.topics import BEHAVIOUR_CLEAN, FEEDBACK, RECOMMENDATIONS

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Counted(NamedTuple):
    """What is counted when the broker has it: a redo counts nothing twice."""

    stage: str
    topic: str
    name: str
    text: str
    labels: tuple[str, ...]


_ROUNDED = (BEHAVIOUR_CLEAN,)
"""The timestamps of these topics are rounded to VEILSTREAM_K_TIME_S."""
_COUNTED = (
    _Counted("ingest", BEHAVIOUR_CLEAN, "events_total", "Clean events written, by type.", ("type",)),
    _Counted(
        *("profile", RECOMMENDATIONS, "recommendations_total", "Recommendations written, by what caused them, and whether a profile did."),
        ("policy", "model_version", "profiled"),
    ),
    _Counted(
        *(
            "feedback",
            FEEDBACK,
            "outcomes_total",
            "Recommended items by what became of them: click-through and conversion are their ratios.",
        ),
        ("outcome", "policy", "model_version"),
    ),
)


class StageMetrics:
    """The metrics of one stage in one process."""

    def __init__(self, registry: CollectorRegistry, stage: str) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"veilstream_{name}", text, ["stage"], registry=registry).labels(stage)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"veilstream_{name}", text, ["stage"], registry=registry).labels(stage)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"veilstream_{name}", text, ["stage"], registry=registry, buckets=_SECONDS).labels(stage)

        self.records = counter("records_total", "Source records whose outputs and state are acknowledged.")
        self.rejected = counter("records_rejected_total", "Source records that became dead letters.")
        self.outputs = counter("outputs_total", "Output records acknowledged by the broker.")
        self.suppressed = counter("outputs_suppressed_total", "Outputs that were not written again because they were already there.")
        self.expired = counter("state_expired_total", "States of shoppers that were kept long enough, and are removed.")
        self.handler_errors = counter("handler_errors_total", "Batches whose handler raised; they were halved or became dead letters.")
        self.retries = counter("retries_total", "Attempts repeated after a transient failure.")
        self.rebalances = counter("rebalances_total", "Times that the partitions of this worker were given out anew.")
        self.fenced = counter("fenced_total", "Batches that were not written, because their partition went to another worker meanwhile.")
        self.handler_seconds = histogram("handler_seconds", "Time of the stage's handler for one batch, seconds.")
        self.write_seconds = histogram("write_seconds", "Time until the outputs of a batch were acknowledged, seconds.")
        self._settled = BulkHistogram(
            "veilstream_record_seconds",
            "Time from a source record's arrival here until its outputs and state are acknowledged, seconds.",
            ["stage"],
            _LATENCY_S,
            registry,
        )
        self._latency = BulkHistogram(
            "veilstream_latency_seconds",
            "Time from a source record's own timestamp until its outputs and state are acknowledged, seconds. Not of behaviour.clean: its "
            "times are rounded.",
            ["stage", "topic"],
            _LATENCY_S,
            registry,
        )
        self._reasons = Counter("veilstream_dead_letters_total", "Dead letters by reason.", ["stage", "reason"], registry=registry)
        self._dropped = Counter("veilstream_dropped_total", "Records dropped by rule, by reason.", ["stage", "reason"], registry=registry)
        self._lag = Gauge("veilstream_lag_records", "Source records not yet applied.", ["stage", "topic", "partition"], registry=registry)
        self._read_model = Gauge("veilstream_read_model_rows", "Entries of a read model.", ["stage", "model"], registry=registry)
        self._lost = Counter(
            "veilstream_lost_to_retention_total",
            "Source records that the topic's retention deleted before they were read.",
            ["stage", "topic", "partition"],
            registry=registry,
        )
        self._behind = Gauge(
            "veilstream_behind_seconds",
            "Age of the oldest source record that is read and not yet applied, seconds. The times of clean records are rounded, so "
            "behind ingest it may be too large by VEILSTREAM_K_TIME_S.",
            ["stage", "topic", "partition"],
            registry=registry,
        )
        self._retrying = Gauge(
            "veilstream_retrying_seconds",
            "Time for which a partition has retried the same step without success, seconds.",
            ["stage", "partition"],
            registry=registry,
        )
        self.foreign_busy = Gauge(
            "veilstream_partitions_busy_not_owned",
            "Partitions given to another worker that this worker still processes. Their results will not be written.",
            ["stage"],
            registry=registry,
        ).labels(stage)
        self.owned = gauge("partitions_owned", "Partitions that this worker processes, of all sources together.")
        self.recovery_left = gauge("recovery_records_left", "Records of the changelog still to be read before the stage processes.")
        self._state_values = gauge("state_values", "Values that the stage keeps of its partitions, as its store estimates.")
        self._state_bytes = gauge("state_bytes", "Bytes of these values and their keys, as its store estimates.")
        self._shown = ShownMetrics(registry, monotonic) if stage == "profile" else None
        self._follower_age = Gauge(
            "veilstream_follower_age_seconds",
            "Time since a read model was last known to be up to date, seconds.",
            ["stage", "topic"],
            registry=registry,
        )
        self._by_topic = {
            one.topic: Counter(f"veilstream_{one.name}", one.text, one.labels, registry=registry) for one in _COUNTED if one.stage == stage
        }
        self.ready = Gauge("veilstream_ready", "1 while the stage processes.", ["stage"], registry=registry).labels(stage)
        self._stage = stage

    def on_written(self, outputs: Sequence[OutputRecord]) -> None:
        """Outputs that the broker has acknowledged."""
        self.outputs.inc(len(outputs))
        for reason, count in Tally(output.reason for output in outputs if output.reason is not None).items():
            self._reasons.labels(self._stage, reason).inc(count)
        for (topic, labels), count in Tally((output.topic, labels) for output in outputs for labels in output.counts).items():
            self._by_topic[topic].labels(*labels).inc(count)

    def on_settled(self, topic: str, records: Sequence[SourceRecord | UnreadableRecord], came_s: float) -> None:
        """Source records of a topic (full name) are settled, the first of which came then, by ``time.monotonic``."""
        self._settled.observe_same((self._stage,), max(0.0, monotonic() - came_s), len(records))
        if not topic.endswith(_ROUNDED):
            self._latency.observe_ages((self._stage, topic), [record.timestamp for record in records], time_ns() // 1_000_000)

    def on_shown(self, shown: Shown) -> None:
        if self._shown is not None:
            self._shown.count(shown)

    def state_size(self, values: int, size: int) -> None:
        self._state_values.set(values)
        self._state_bytes.set(size)

    def lost_to_retention(self, topic: str, partition: int, count: int) -> None:
        self._lost.labels(self._stage, topic, str(partition)).inc(count)

    def behind(self, topic: str, partition: int, seconds: float) -> None:
        self._behind.labels(self._stage, topic, str(partition)).set(seconds)

    def retrying(self, partition: int, seconds: float) -> None:
        self._retrying.labels(self._stage, str(partition)).set(seconds)

    def follower_age(self, topic: str, seconds: float) -> None:
        self._follower_age.labels(self._stage, topic).set(seconds)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Another worker tells of it from now on."""
        for gauge, labels in (
            (self._lag, (self._stage, topic, str(partition))),
            (self._behind, (self._stage, topic, str(partition))),
            (self._retrying, (self._stage, str(partition))),
        ):
            with suppress(KeyError):
                gauge.remove(*labels)

    def on_dropped(self, reason: str, count: int = 1) -> None:
        """Records that a rule drops without a dead letter, such as duplicates."""
        self._dropped.labels(self._stage, reason).inc(count)

    def lag(self, topic: str, partition: int, records: int) -> None:
        self._lag.labels(self._stage, topic, str(partition)).set(records)

    def read_model(self, model: str, rows: Callable[[], int]) -> None:
        """``rows`` is asked whenever metrics are."""
        self._read_model.labels(self._stage, model).set_function(rows)


def tell_build(registry: CollectorRegistry) -> None:
    """Which version runs."""
    info = Gauge("veilstream_build_info", "1; which version runs, on which Python.", ["version", "python"], registry=registry)
    info.labels(version("veilstream"), python_version()).set(1)
