"""Settles due recommendations: feedback for every item, and training pairs for it and for organic interactions."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b

from streams.serde.outcomes import feedback_id
from streams.serde.records import Feedback, HistoryItem, TrainingPair
from streams.stages.feedback.attribution import Attribution, attributions, closes_at, is_decidable, may_claim, settles_at
from streams.stages.feedback.ledger import Interaction, MovedPast, Outstanding, Past, Shopper
from streams.stages.feedback.moves import HELD_MS
from streams.stages.feedback.rules import ORGANIC, OUTCOME_OF_EVENT, REWARDS, FeedbackRules


def settle(
    pseudonym: str, shopper: Shopper, watermark_ms: int, source_offset: int, rules: FeedbackRules
) -> tuple[list[Feedback], list[TrainingPair]]:
    """Settle all data of the shopper that can be decided, and remove it from the shopper's state.

    It can be decided at the watermark of behaviour.clean, with the recommendations read up to those of the event at
    ``source_offset``.
    """
    feedback: list[Feedback] = []
    pairs: list[TrainingPair] = []
    unanswered = [i for i in shopper.interactions if i.offset > source_offset]
    closing = [r for r in shopper.outstanding if closes_at(r, rules) <= watermark_ms and is_decidable(r, unanswered, rules)]
    closing.sort(key=lambda r: r.source_offset)
    for recommendation in closing:
        verdicts = attributions(shopper, recommendation, rules)
        if recommendation.source_offset <= shopper.moved_offset and not any(verdict.cause for verdict in verdicts):
            continue  # she may have reacted under another pseudonym
        for rank, (item_id, verdict) in enumerate(zip(recommendation.items, verdicts, strict=True)):
            feedback.append(_feedback(pseudonym, recommendation, rank, item_id, verdict, rules))
            if verdict.outcome != "ignored":  # what was never seen says nothing about taste
                pairs.append(_shown_pair(pseudonym, shopper, recommendation, rank, item_id, verdict, rules))
    if closing:
        closed = {r.recommendation_id for r in closing}
        shopper.outstanding = [r for r in shopper.outstanding if r.recommendation_id not in closed]
    kept: list[Interaction] = []
    over_ms = watermark_ms - rules.window_ms - rules.lateness_ms  # settles_at, turned round
    for interaction in shopper.interactions:
        if (
            interaction.offset > source_offset
            or interaction.time_ms > over_ms
            or any(may_claim(r, interaction, rules) for r in shopper.outstanding)
        ):
            kept.append(interaction)
        elif not interaction.claimed and interaction.event_type in ORGANIC:
            pairs.append(_organic_pair(pseudonym, shopper, interaction, rules))
    shopper.interactions = kept
    return feedback, pairs


def due_at(shopper: Shopper, rules: FeedbackRules, after_ms: int = -1) -> int | None:
    """The next watermark, later than ``after_ms``, at which data of the shopper may be settled, rounded up to ``settle_every_ms``.

    Reason for rounding: to settle much data at once is cheaper. No result depends on the time of settling.
    """
    span = rules.window_ms + rules.lateness_ms
    begin = after_ms - span
    times = [r.created_ms for r in shopper.outstanding if r.created_ms > begin]
    times += [i.time_ms for i in shopper.interactions if i.time_ms > begin]
    return -(-(min(times) + span) // rules.settle_every_ms) * rules.settle_every_ms if times else None


def waits_for(shopper: Shopper, watermark_ms: int, source_offset: int, rules: FeedbackRules) -> int | None:
    """The source offset up to which recommendations must be read before data that is due by the watermark can be settled, or a mark can
    be dropped. None if nothing waits for that.
    """
    waits = [shopper.marked_until] if shopper.marked_until > source_offset else []
    interactions = shopper.interactions
    if interactions and interactions[-1].offset > source_offset:
        is_over = any(closes_at(r, rules) <= watermark_ms for r in shopper.outstanding) or any(
            settles_at(i, rules) <= watermark_ms for i in interactions
        )
        waits += [interactions[-1].offset] if is_over else []
    return min(waits, default=None)


def identity(*parts: str) -> str:
    """32 hexadecimal characters of a BLAKE2b over the parts."""
    return blake2b("\x00".join(parts).encode(), digest_size=16).hexdigest()


def _feedback(pseudonym: str, recommendation: Outstanding, rank: int, item_id: str, verdict: Attribution, rules: FeedbackRules) -> Feedback:
    cause = verdict.cause
    return {
        "feedback_id": feedback_id(recommendation.recommendation_id, item_id),
        "recommendation_id": recommendation.recommendation_id,
        "pseudonym": pseudonym,
        "item_id": item_id,
        "rank": rank,
        "policy": recommendation.policy,
        "model_version": recommendation.model_version,
        "outcome": verdict.outcome,
        "reward": REWARDS[verdict.outcome],
        "shown": verdict.shown,
        "delay_ms": None if cause is None else max(0, cause.time_ms - recommendation.created_ms),
        "created_at": recommendation.created_ms,
        "closed_at": recommendation.created_ms + rules.window_ms,
        "others": [],
    }


def _shown_pair(
    pseudonym: str, shopper: Shopper, recommendation: Outstanding, rank: int, item_id: str, verdict: Attribution, rules: FeedbackRules
) -> TrainingPair:
    return {
        "pair_id": identity(pseudonym, recommendation.recommendation_id, item_id),
        "pseudonym": pseudonym,
        "history": _history(shopper, recommendation.source_offset + 1, recommendation.created_ms, rules),
        "item_id": item_id,
        "outcome": verdict.outcome,
        "reward": REWARDS[verdict.outcome],
        "recommendation_id": recommendation.recommendation_id,
        "rank": rank,
        "model_version": recommendation.model_version,
        "occurred_at": recommendation.created_ms + rules.window_ms if verdict.cause is None else verdict.cause.time_ms,
    }


def _organic_pair(pseudonym: str, shopper: Shopper, interaction: Interaction, rules: FeedbackRules) -> TrainingPair:
    return {
        "pair_id": identity(pseudonym, interaction.event_id),
        "pseudonym": pseudonym,
        "history": _history(shopper, interaction.offset, interaction.time_ms, rules),
        "item_id": interaction.item_id,
        "outcome": OUTCOME_OF_EVENT[interaction.event_type],
        "reward": REWARDS[OUTCOME_OF_EVENT[interaction.event_type]],
        "recommendation_id": None,
        "rank": None,
        "model_version": None,
        "occurred_at": interaction.time_ms,
    }


def _history(shopper: Shopper, before_offset: int, at_ms: int, rules: FeedbackRules) -> list[HistoryItem]:
    end = bisect_left(shopper.history, before_offset, key=lambda past: past.offset)
    past: list[Past | MovedPast] = list(shopper.history[max(0, end - rules.history_size) : end])
    if shopper.moved and len(past) < rules.history_size:
        # Whoever reads these, and the events under the former pseudonym, would know one by the other while the topics hold both.
        moved = [one for one in shopper.moved if one.time_ms <= at_ms - HELD_MS]
        past = [*moved[len(past) - rules.history_size :], *past]
    return [{"kind": p.kind, "ref": p.ref, "event_type": p.event_type, "age_ms": max(0, at_ms - p.time_ms)} for p in past]
