"""The input of the decision by the owner of partition 0: earlier requests, the state of rounds, and the counts of all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streams.serde.records import TrainingControl, TrainingTally
from streams.stages.learning.rounds import Rounds, next_request_id
from streams.stages.learning.rules import LearningRules
from streams.stages.learning.tally import newest_ms, windows
from streams.stages.learning.trigger import Decision, Situation, decide


class TriggerBaseline(msgspec.Struct, frozen=True, array_like=True):
    """What new is counted from; in the table of the partition that decides."""

    at_ms: int
    """Real time of the last request; before the first, when the counting began."""
    request_id: str = ""
    pairs: int = 0
    """Pairs of all partitions at the last request."""
    event_ms: int = 0
    """Event time from which on the reference window may begin: a round that brought no new model has seen what was before."""


class TriggerJudgement(NamedTuple):
    since: TriggerBaseline
    """As it is before the decision takes effect."""
    situation: Situation
    decision: Decision


def judge(
    known: TriggerBaseline | None, rounds: Rounds, tallies: Sequence[TrainingTally], rules: LearningRules, now_ms: int
) -> TriggerJudgement:
    """Whether to ask for a round now. ``known`` is what the state holds, None before the first time."""
    pairs = _pairs(tallies)
    since = known or TriggerBaseline(now_ms)
    # The worker's own request may not have come back yet. After a long time it is no longer in the topic.
    awaited = since.request_id != "" and since.request_id not in rounds and now_ms - since.at_ms < rules.stale_ms
    latest = rounds.latest
    if latest is not None and latest.request_id != since.request_id and not awaited:
        # The earlier owner may have died between asking and remembering. Then the request says from where on it counted.
        is_own = latest.request_id == next_request_id(since.request_id)
        counted = min(since.pairs + latest.new_pairs, pairs) if is_own else pairs
        since = TriggerBaseline(min(latest.asked_ms, now_ms), latest.request_id, counted, _after_ms(tallies, rules))
    if pairs < since.pairs:
        # The counts began anew, as they do where the stage's state was lost.
        since = msgspec.structs.replace(since, pairs=pairs)
    seen = windows(tallies, since.event_ms, rules.window_ms, rules.bucket_ms)
    situation = Situation(
        now_ms=now_ms,
        since_ms=since.at_ms,
        started_before=since.request_id != "",
        running=awaited or rounds.is_open(now_ms, rules.stale_ms),
        new_pairs=pairs - since.pairs,
        reference_scores=seen.reference_scores,
        recent_scores=seen.recent_scores,
        reference_shown=seen.reference_shown,
        recent_shown=seen.recent_shown,
    )
    return TriggerJudgement(since, situation, decide(situation, rules.trigger))


def ask(judged: TriggerJudgement, tallies: Sequence[TrainingTally], rules: LearningRules) -> tuple[TrainingControl, TriggerBaseline]:
    """The request, and the counts after it. Two requests made with the same last round have the same id."""
    identity = next_request_id(judged.since.request_id)
    now = judged.situation
    request = TrainingControl(
        request_id=identity,
        state="requested",
        cause=judged.decision.cause or "",
        reason=judged.decision.reason,
        at=now.now_ms,
        model_version=None,
        verdict="",
        pairs=now.new_pairs,
    )
    return request, TriggerBaseline(now.now_ms, identity, _pairs(tallies), _after_ms(tallies, rules))


def _pairs(tallies: Sequence[TrainingTally]) -> int:
    return sum(tally["pairs"] for tally in tallies)


def _after_ms(tallies: Sequence[TrainingTally], rules: LearningRules) -> int:
    return newest_ms(tallies) + rules.bucket_ms
