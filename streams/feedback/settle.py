"""Settles what is due: feedback for every item of a closed recommendation, training pairs for it and for organic interactions."""

from __future__ import annotations

from hashlib import blake2b

from streams.feedback.attribute import Verdict, closes_at, settles_at, verdicts
from streams.feedback.ledger import Interaction, Outstanding, Shopper
from streams.feedback.rules import OUTCOME_OF_EVENT, POSITIVE, REWARDS, FeedbackRules
from streams.wire.records import Feedback, HistoryItem, TrainingPair


def settle(pseudonym: str, shopper: Shopper, watermark_ms: int, rules: FeedbackRules) -> tuple[list[Feedback], list[TrainingPair]]:
    """Everything of the shopper that is due at the watermark; what is settled is taken out of the shopper's state."""
    feedback: list[Feedback] = []
    pairs: list[TrainingPair] = []
    closing = sorted((r for r in shopper.outstanding if closes_at(r, rules) <= watermark_ms), key=lambda r: (r.created_ms, r.source_offset))
    for recommendation in closing:
        for rank, (item_id, verdict) in enumerate(zip(recommendation.items, verdicts(shopper, recommendation, rules), strict=True)):
            feedback.append(_feedback(pseudonym, recommendation, rank, item_id, verdict, rules))
            if verdict.outcome != "ignored":  # what was never seen says nothing about taste
                pairs.append(_shown_pair(pseudonym, shopper, recommendation, rank, item_id, verdict, rules))
    kept = [i for i in shopper.interactions if settles_at(i, rules) > watermark_ms]
    for interaction in shopper.interactions:
        if settles_at(interaction, rules) <= watermark_ms and not interaction.claimed and interaction.event_type in POSITIVE:
            pairs.append(_organic_pair(pseudonym, shopper, interaction, rules))
    if closing:
        closed = {r.recommendation_id for r in closing}
        shopper.outstanding = [r for r in shopper.outstanding if r.recommendation_id not in closed]
    shopper.interactions = kept
    return feedback, pairs


def identity(*parts: str) -> str:
    """32 hexadecimal characters of a BLAKE2b over the parts."""
    return blake2b("\x00".join(parts).encode(), digest_size=16).hexdigest()


def _feedback(pseudonym: str, recommendation: Outstanding, rank: int, item_id: str, verdict: Verdict, rules: FeedbackRules) -> Feedback:
    cause = verdict.cause
    return {
        "feedback_id": identity(recommendation.recommendation_id, item_id),
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
    }


def _shown_pair(
    pseudonym: str, shopper: Shopper, recommendation: Outstanding, rank: int, item_id: str, verdict: Verdict, rules: FeedbackRules
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
        "outcome": interaction.event_type,
        "reward": REWARDS[OUTCOME_OF_EVENT[interaction.event_type]],
        "recommendation_id": None,
        "rank": None,
        "model_version": None,
        "occurred_at": interaction.time_ms,
    }


def _history(shopper: Shopper, before_offset: int, at_ms: int, rules: FeedbackRules) -> list[HistoryItem]:
    past = [p for p in shopper.history if p.offset < before_offset][-rules.history_size :]
    return [{"kind": p.kind, "ref": p.ref, "event_type": p.event_type, "age_ms": max(0, at_ms - p.time_ms)} for p in past]
