"""Metrics of what is sealed on disk. Labels never hold data of a record."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


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
