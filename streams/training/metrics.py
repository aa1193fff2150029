"""The trainer's metrics. Labels never hold data of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

_PROGRESS = {
    "step": "Steps done in the running round.",
    "steps": "Planned steps of the running round.",
    "loss": "Loss of the last step.",
    "learning_rate": "Learning rate of the last step.",
    "pairs_per_second": "Examples per second of the last step.",
    "seconds_left": "Time left of the fine-tuning, seconds.",
    "validation": "HR@K + NDCG@K of the last validation.",
}


class TrainerMetrics:
    """The metrics of one trainer process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"veilstream_trainer_{name}", text, registry=registry)

        self.stored = gauge("pairs_stored", "Training pairs in the store.")
        self.logs = gauge("logs_stored", "Logs of features in the store.")
        self.training = gauge("training", "1 while a round is running.")
        self.pending = gauge("requests_pending", "Waiting requests for a round.")
        self.pairs = Counter("veilstream_trainer_pairs_total", "Training pairs stored, each counted once.", registry=registry)
        self.rejected = Counter(
            "veilstream_trainer_records_rejected_total", "Records that could not be read.", ["topic"], registry=registry
        )
        self.retries = Counter("veilstream_trainer_retries_total", "Attempts repeated after a transient failure.", registry=registry)
        self.rounds = Counter("veilstream_trainer_rounds_total", "Rounds by how they ended.", ["state"], registry=registry)
        self.canary = Gauge(
            "veilstream_trainer_canary_difference", "Mean reward of the canary less stable's.", ["bound"], registry=registry
        )
        self._progress = {name: gauge(name, text) for name, text in _PROGRESS.items()}

    def watch_erasures(self, count: Callable[[], float], oldest_s: Callable[[], float]) -> None:
        """Tell from now on how many requests to forget a shopper are open, and the age of the oldest."""
        Gauge(
            "veilstream_erasures_open",
            "Requests to forget a shopper that not all stages have receipted; NaN until known.",
            registry=self._registry,
        ).set_function(count)
        Gauge(
            "veilstream_erasure_oldest_seconds",
            "Age of the oldest open request to forget a shopper; 0 where none is open, NaN until known.",
            registry=self._registry,
        ).set_function(oldest_s)

    def progress(self, values: Mapping[str, Any]) -> None:
        """Of the round under way."""
        for name, gauge in self._progress.items():
            if values.get(name) is not None:
                gauge.set(values[name])
