"""What wants somebody, worst first. Pure. The page has a sentence and a "what to do" for each code."""

from __future__ import annotations

from collections.abc import Mapping

from streams.console.flow import BEHIND_S, RETRYING_S
from streams.console.samples import Readings
from streams.console.texts import shown
from streams.console.view import Flow, Notice, Privacy, SourceRow, Training, Worker

ERASURE_OVERDUE_S = 86_400.0
_REFUSED_SHARE = 0.05
_FEW_EVENTS = 100
_NAMED = 3
"""Metrics that a notice names; the table of workers has all."""
_DRIFT = 0.25
"""Above it, a population stability index counts as a shift of the scores."""

CODES = (
    *(
        "topic",
        "worker_away",
        "worker_other",
        "worker_old",
        "stage_away",
        "stage_starting",
        "stage_recovering",
        "stage_retrying",
        "stage_behind",
        "not_owned",
    ),
    *("lost", "source_refused", "model_refused", "round_failed", "drift", "erasure_overdue", "audit_wrong", "audit_keys"),
)
"""All of them: the page's texts are checked against it."""


def notices(
    problems: Mapping[str, str],
    workers: list[Worker],
    flow: Flow,
    sources: list[SourceRow],
    training: Training,
    privacy: Privacy,
    readings: Readings,
) -> list[Notice]:
    """``problems``: why topics can't be read, by topic."""
    found = [Notice("topic", "bad", {"topic": topic, "problem": shown(problem, 300)}) for topic, problem in problems.items()]
    found += _of_workers(workers)
    found += _of_stages(flow)
    found += _of_counters(readings)
    for source in sources:
        if source.read >= _FEW_EVENTS and source.refused > _REFUSED_SHARE * source.read:
            values: dict[str, str | float] = {"source": source.source, "share": source.refused / source.read}
            found.append(Notice("source_refused", "warn", values))
    if training.rounds and training.rounds[0].state == "failed":
        found.append(Notice("round_failed", "warn", {"reason": training.rounds[0].reason}))
    if training.score_stability is not None and training.score_stability > _DRIFT:
        found.append(Notice("drift", "warn", {"index": training.score_stability}))
    if privacy.oldest_s is not None and privacy.oldest_s > ERASURE_OVERDUE_S:
        found.append(Notice("erasure_overdue", "bad", {"open": privacy.erasures_open or 0.0, "seconds": privacy.oldest_s}))
    if privacy.audit.state == "wrong":
        found.append(Notice("audit_wrong", "bad", {"records": float(sum(privacy.audit.wrong.values()))}))
    if privacy.audit.state == "keys":
        found.append(Notice("audit_keys", "warn"))
    return sorted(found, key=lambda notice: notice.severity != "bad")


def _of_workers(workers: list[Worker]) -> list[Notice]:
    found = []
    for worker in workers:
        if worker.state == "away":
            found.append(Notice("worker_away", "bad", {"address": worker.address, "problem": worker.problem}))
        elif worker.state == "other":
            found.append(Notice("worker_other", "warn", {"address": worker.address}))
        elif worker.state == "old":
            more = f" (+{len(worker.missing) - _NAMED})" if len(worker.missing) > _NAMED else ""
            values: dict[str, str | float] = {"address": worker.address, "missing": ", ".join(worker.missing[:_NAMED]) + more}
            found.append(Notice("worker_old", "warn", values))
    return found


def _of_stages(flow: Flow) -> list[Notice]:
    found = []
    for stage in flow.stages:
        if stage.state == "away":
            found.append(Notice("stage_away", "warn", {"stage": stage.name}))
        if stage.state == "starting":
            left = stage.recovery_left or 0.0
            code = "stage_recovering" if left > 0 else "stage_starting"
            found.append(Notice(code, "warn", {"stage": stage.name, "left": left}))
        if stage.retrying_s is not None and stage.retrying_s > RETRYING_S:
            found.append(Notice("stage_retrying", "bad", {"stage": stage.name, "seconds": stage.retrying_s}))
        if stage.behind_s is not None and stage.behind_s > BEHIND_S:
            found.append(Notice("stage_behind", "warn", {"stage": stage.name, "seconds": stage.behind_s, "lag": stage.lag or 0.0}))
    return found


def _of_counters(readings: Readings) -> list[Notice]:
    found = []
    for stage, count in readings.by("stage", "veilstream_partitions_busy_not_owned").items():
        if count > 0:
            found.append(Notice("not_owned", "warn", {"stage": shown(stage, 40), "partitions": count}))
    for topic, count in readings.by("topic", "veilstream_lost_to_retention_total").items():
        if count > 0:
            found.append(Notice("lost", "bad", {"topic": shown(topic, 80), "records": count}))
    for reason, count in readings.by("reason", "veilstream_models_refused_total").items():
        if count > 0:
            found.append(Notice("model_refused", "warn", {"reason": shown(reason, 40), "times": count}))
    return found
