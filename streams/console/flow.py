"""The flow: rates, latency and lag by stage. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from streams.app import STAGES
from streams.console.samples import Readings
from streams.console.view import Flow, Stage, Worker
from streams.console.workers import TRAINER

BEHIND_S = 30.0
RETRYING_S = 10.0
"""As long as /readyz waits before it says so."""
_POINTS = 90
_EXACT = ("ingest", "catalogue")
"""Stages whose sources have the times of producers."""
_RATES: Mapping[str, str] = {
    "behaviour.clean": "veilstream_events_total",
    "recommendations": "veilstream_recommendations_total",
    "feedback": "veilstream_outcomes_total",
}
"""Topics whose records are counted by a metric of their own."""


class FlowHistory:
    """Keeps the rates of the last minutes, for the small curves."""

    def __init__(self) -> None:
        self._rates: dict[str, deque[float]] = {}

    def take(self, readings: Readings) -> None:
        """Once after each round of asking."""
        for name in (*STAGES, TRAINER):
            rate = _rate(name, readings)
            if rate is not None:
                self._rates.setdefault(name, deque(maxlen=_POINTS)).append(round(rate, 2))

    def of(self, name: str) -> list[float]:
        return list(self._rates.get(name, ()))


def flow_view(readings: Readings, workers: list[Worker], history: FlowHistory, rounded_s: float = 0.0) -> Flow:
    """``rounded_s``: by how much the times of clean records may be rounded down (VEILSTREAM_K_TIME_S)."""
    counts = {name: sum(name in worker.stages for worker in workers) for name in (*STAGES, TRAINER)}
    starting = {stage for worker in workers if worker.state == "starting" for stage in worker.stages}
    stages = [_stage(name, counts[name], name in starting, readings, history, 0.0 if name in _EXACT else rounded_s) for name in STAGES]
    stages.append(_trainer(counts[TRAINER], readings, history))
    topics: dict[str, float | None] = {"behaviour.raw": _rate("ingest", readings), "catalogue.items": _rate("catalogue", readings)}
    topics |= {topic: readings.rate(name) for topic, name in _RATES.items()}
    return Flow(stages, topics, readings.by("reason", "veilstream_recommendations_suppressed_total"))


def _rate(name: str, readings: Readings) -> float | None:
    if name == TRAINER:
        return readings.rate("veilstream_trainer_pairs_total")
    return readings.rate("veilstream_records_total", stage=name)


def _stage(name: str, workers: int, is_starting: bool, readings: Readings, history: FlowHistory, rounded_s: float) -> Stage:
    rate, lag = _rate(name, readings), readings.total("veilstream_lag_records", stage=name)
    behind = behind_of(readings.largest("veilstream_behind_seconds", stage=name), lag, rate, rounded_s)
    retrying = readings.largest("veilstream_retrying_seconds", stage=name)
    if workers == 0:
        state = "away"
    elif retrying is not None and retrying > RETRYING_S:
        state = "retrying"
    elif is_starting:
        state = "starting"
    else:
        state = "behind" if behind is not None and behind > BEHIND_S else "ok"
    return Stage(
        name=name,
        state=state,
        workers=workers,
        rate=rate,
        p50_ms=_latency_ms(0.5, name, readings),
        p99_ms=_latency_ms(0.99, name, readings),
        lag=lag,
        behind_s=behind,
        retrying_s=retrying,
        recovery_left=readings.total("veilstream_recovery_records_left", stage=name),
        rates=history.of(name),
    )


def behind_of(told_s: float | None, lag: float | None, rate: float | None, rounded_s: float) -> float | None:
    """How far a stage is behind, seconds. What it tells is too large by ``rounded_s`` at most; how long its waiting records take says
    where between.

    >>> behind_of(200.0, 50.0, 100.0, 300.0), behind_of(400.0, 50.0, 100.0, 300.0), behind_of(200.0, 50.0, 100.0, 0.0)
    (0.5, 100.0, 200.0)
    """
    if told_s is None or lag is None or not rate:
        return told_s
    return min(told_s, max(lag / rate, told_s - rounded_s))


def _latency_ms(q: float, stage: str, readings: Readings) -> float | None:
    """Of a record, from its arrival until all of it is written. Of an older worker that of a batch: the quantiles of computing and of
    writing, added."""
    whole = readings.quantile(q, "veilstream_record_seconds", stage=stage)
    if whole is not None:
        return whole * 1000
    parts = [readings.quantile(q, f"veilstream_{part}_seconds", stage=stage) for part in ("handler", "write")]
    known = [part for part in parts if part is not None]
    return sum(known) * 1000 if known else None


def _trainer(workers: int, readings: Readings, history: FlowHistory) -> Stage:
    is_training = (readings.largest("veilstream_trainer_training") or 0) > 0
    return Stage(
        name=TRAINER,
        state="none" if workers == 0 else "training" if is_training else "ok",
        workers=workers,
        rate=_rate(TRAINER, readings),
        p50_ms=None,
        p99_ms=None,
        lag=readings.total("veilstream_trainer_requests_pending"),
        behind_s=None,
        retrying_s=None,
        recovery_left=None,
        rates=history.of(TRAINER),
    )
