"""Which recommendation an interaction belongs to, and the outcome of each recommended item.

Both topics are read independently. So an interaction may arrive before the recommendation that caused it, or long after. Therefore nothing
is decided on arrival. A recommendation is decided when two things are known:

1. All events of the shopper in its window. (The watermark of behaviour.clean is past the window and the allowed lateness.)
2. For each event that it may claim: every other recommendation that may claim the same event. (The recommendations are read up to
   those that a later event caused.)

Then the result depends on the content of both topics, and not on the order of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.stages.feedback.ledger import Interaction, Outstanding, Shopper
from streams.stages.feedback.rules import OUTCOME_OF_EVENT, OUTCOMES, FeedbackRules

_STRENGTH = {outcome: -place for place, outcome in enumerate(OUTCOMES)}


class Attribution(NamedTuple):
    """What became of one recommended item."""

    outcome: str
    shown: bool
    cause: Interaction | None
    """The interaction that decided it."""


def closes_at(recommendation: Outstanding, rules: FeedbackRules) -> int:
    """Watermark at which everything that can count for the recommendation has come."""
    return recommendation.created_ms + rules.window_ms + rules.lateness_ms


def settles_at(interaction: Interaction, rules: FeedbackRules) -> int:
    """Watermark from which on the interaction is settled, once no recommendation can claim it any more."""
    return interaction.time_ms + rules.window_ms + rules.lateness_ms


def may_claim(recommendation: Outstanding, interaction: Interaction, rules: FeedbackRules) -> bool:
    """Whether the interaction could be an outcome of the recommendation.

    It must be later than the recommendation, concern one of its items, lie in its window, and name no other recommendation. And it
    must not be so late that an orderly settlement would have missed it.
    """
    if interaction.offset <= recommendation.source_offset or interaction.time_ms > recommendation.created_ms + rules.window_ms:
        return False
    if interaction.item_id not in recommendation.items or interaction.watermark_ms >= closes_at(recommendation, rules):
        return False
    if interaction.recommendation_id is not None:
        return interaction.recommendation_id == recommendation.recommendation_id
    return interaction.time_ms >= recommendation.created_ms - rules.lateness_ms


def is_decidable(recommendation: Outstanding, unanswered: Iterable[Interaction], rules: FeedbackRules) -> bool:
    """Whether none of the interactions that a recommendation still to come may claim could be this one's. One that names its
    recommendation is nobody else's."""
    return not any(i.recommendation_id is None and may_claim(recommendation, i, rules) for i in unanswered)


def belongs(interaction: Interaction, recommendation: Outstanding, others: Iterable[Outstanding], rules: FeedbackRules) -> bool:
    """Whether the interaction is an outcome of the recommendation. Of all recommendations that may claim it, the shopper's latest has
    it. Recommendations that are no longer among the others have already claimed their interactions.
    """
    if interaction.claimed or not may_claim(recommendation, interaction, rules):
        return False
    return not any(other.source_offset > recommendation.source_offset and may_claim(other, interaction, rules) for other in others)


def attributions(shopper: Shopper, recommendation: Outstanding, rules: FeedbackRules) -> list[Attribution]:
    """One verdict an item, in rank order; the interactions that decided are marked as claimed."""
    return [_verdict(shopper, recommendation, item_id, rules) for item_id in recommendation.items]


def _verdict(shopper: Shopper, recommendation: Outstanding, item_id: str, rules: FeedbackRules) -> Attribution:
    about: Sequence[Interaction] = [i for i in shopper.interactions if i.item_id == item_id]
    if about:
        about = [i for i in about if belongs(i, recommendation, shopper.outstanding, rules)]
        for interaction in about:
            interaction.claimed = True
    cause = max(about, key=lambda i: (_STRENGTH[OUTCOME_OF_EVENT[i.event_type]], -i.offset), default=None)
    outcome = OUTCOME_OF_EVENT[cause.event_type] if cause is not None else "ignored"
    return Attribution(outcome, any(i.event_type == "impression" for i in about), cause)
