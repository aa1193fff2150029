"""All metrics of a worker, each defined once. Labels never hold data of a record."""

from __future__ import annotations

import functools
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import nan
from time import monotonic, time
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.engine.records import OutputRecord
from streams.topics import BEHAVIOUR_CLEAN, FEEDBACK, RECOMMENDATIONS

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LIVE_S = 60.0
"""Older messages are read again at a start; they tell nothing of how long a decision takes."""
_SITUATION = (
    ("new_pairs", "Training pairs since the last round was requested."),
    ("score_stability", "Population stability index of the scores; NaN while there are too few."),
    ("ignored_share", "Share of recommended items without a reaction in the last window; NaN while there are none."),
    ("running", "1 while a round is requested or running."),
)


class _Counted(NamedTuple):
    """What is counted when the broker has it: a redo counts nothing twice."""

    stage: str
    topic: str
    name: str
    text: str
    labels: tuple[str, ...]


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

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"veilstream_{name}", text, ["stage"], registry=registry, buckets=_SECONDS).labels(stage)

        self.records = counter("records_total", "Source records whose outputs and state are acknowledged.")
        self.rejected = counter("records_rejected_total", "Source records that became dead letters.")
        self.outputs = counter("outputs_total", "Output records acknowledged by the broker.")
        self.suppressed = counter("outputs_suppressed_total", "Outputs that were not written again because they were already there.")
        self.expired = counter("state_expired_total", "States of shoppers that were kept long enough, and are removed.")
        self.handler_errors = counter("handler_errors_total", "Batches whose handler raised; they were halved or became dead letters.")
        self.retries = counter("retries_total", "Attempts repeated after a transient failure.")
        self.handler_seconds = histogram("handler_seconds", "Time of the stage's handler for one batch, seconds.")
        self.write_seconds = histogram("write_seconds", "Time until the outputs of a batch were acknowledged, seconds.")
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

    def read_model(self, model: str, rows: int) -> None:
        self._read_model.labels(self._stage, model).set(rows)


class AtRestMetrics:
    """What is sealed on disk, and under which keys (docs/at-rest.md)."""

    def __init__(self, registry: CollectorRegistry, stage: str) -> None:
        self.unmoved = Gauge(
            "veilstream_state_unmoved_partitions",
            "Partitions of which it is not known yet that all values are sealed under the current state key. Where it is 0 on all workers, "
            "the old key, or the reading of plain values, is not needed any more.",
            ["stage"],
            registry=registry,
        ).labels(stage)
        self.moved = Counter(
            "veilstream_state_moved_total", "Values that were sealed anew under the current keys.", ["stage"], registry=registry
        ).labels(stage)
        self.shredded = Counter(
            "veilstream_state_shredded_total",
            "Values that were met and count as none, since their shopper's data key was erased: an old copy of a state was put back.",
            ["stage"],
            registry=registry,
        ).labels(stage)
        self.data_keys = Gauge(
            "veilstream_state_data_keys", "Data keys of shoppers in memory, of the partitions of this worker.", ["stage"], registry=registry
        ).labels(stage)


class IngestMetrics:
    """What the ingest stage counts by source, as its handler sees it: a batch that is handled again counts again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lines = Counter(
            "veilstream_source_events_total", "Events read, by source: the name of a mapping, or `none`.", ["source"], registry=registry
        )
        self._refused = Counter(
            "veilstream_source_refused_total", "Events refused, by source and reason.", ["source", "reason"], registry=registry
        )
        self._shared = Counter(
            "veilstream_shared_ids_total", "Ids, a day each, with more events or sessions than one person makes.", registry=registry
        )
        self._kept_back = Counter(
            "veilstream_kept_back_total",
            "Events of which less is told than is known, since too few shoppers share it, by flag: price_widened, rare_query, and others.",
            ["flag"],
            registry=registry,
        )
        self._delay = Histogram(
            "veilstream_consent_delay_seconds",
            "From a shop's message on consent to the moment at which this worker knows the decision.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 15, 60),
            registry=registry,
        )

    def read(self, source: str, lines: int) -> None:
        self._lines.labels(source).inc(lines)

    def refused(self, source: str, reason: str, events: int) -> None:
        self._refused.labels(source, reason).inc(events)

    def shared_id(self) -> None:
        self._shared.inc()

    def kept_back(self, counts: Mapping[str, int]) -> None:
        for flag, count in counts.items():
            self._kept_back.labels(flag).inc(count)

    def decision(self, received_ms: int) -> None:
        """A decision was read whose message was received then."""
        seconds = time() - received_ms / 1000
        if 0 <= seconds < _LIVE_S:
            self._delay.observe(seconds)

    def watch_consents(self, counts: Mapping[tuple[str, str], Callable[[], int]], unreadable: Callable[[], int]) -> None:
        """Tell from now on how many shoppers allow and refuse what: by purpose and decision."""
        Gauge(
            "veilstream_consent_unreadable_records", "Records of consent.decisions that could not be used.", registry=self._registry
        ).set_function(unreadable)
        decided = Gauge("veilstream_consents", "Shoppers who decided.", ["purpose", "decision"], registry=self._registry)
        for (purpose, decision), count in counts.items():
            decided.labels(purpose, decision).set_function(count)

    def watch_quarantine(self, count: Callable[[], int]) -> None:
        """Tell from now on how many producers are set apart."""
        Gauge(
            "veilstream_producers_quarantined",
            "Producers, each partition by itself, whose records are set apart because most of them were refused.",
            registry=self._registry,
        ).set_function(count)


class LearningMetrics:
    """The values that the training trigger sees, set by the one worker that decides (the owner of partition 0).

    A value that is not set again soon becomes NaN, because another worker may decide by then. ``unreadable`` counts followed
    records that could not be used.
    """

    FRESH_S = 30.0
    """The trigger looks every few seconds."""

    def __init__(self, registry: CollectorRegistry, unreadable: Callable[[], int], seconds: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._latest: tuple[float, ...] = (nan,) * len(_SITUATION)
        self._latest_at = seconds()
        for place, (name, text) in enumerate(_SITUATION):
            Gauge(f"veilstream_training_{name}", text, registry=registry).set_function(functools.partial(self._value, place))
        Gauge(
            "veilstream_training_unreadable_records",
            "Records of training.tallies and training.control that were skipped since the start: damaged or not understood.",
            registry=registry,
        ).set_function(unreadable)
        self._requests = Counter("veilstream_training_requests_total", "Rounds that this worker requested.", ["cause"], registry=registry)

    def situation(self, new_pairs: float, stability: float, ignored_share: float, running: float) -> None:
        self._latest = (new_pairs, stability, ignored_share, running)
        self._latest_at = self._seconds()

    def requested(self, cause: str) -> None:
        self._requests.labels(cause).inc()

    def _value(self, place: int) -> float:
        return self._latest[place] if self._seconds() - self._latest_at < self.FRESH_S else nan
