"""Which recommendation an interaction belongs to, and what became of each recommended item.

Both topics are read independently, so an interaction may come before the recommendation that caused it. Therefore nothing
is decided when something comes, only when a window is over: then the answer depends on what came, not on its order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.feedback.ledger import Interaction, Outstanding, Shopper
from streams.feedback.rules import OUTCOME_OF_EVENT, OUTCOMES, FeedbackRules

_STRENGTH = {outcome: -place for place, outcome in enumerate(OUTCOMES)}


class Verdict(NamedTuple):
    """What became of one recommended item."""

    outcome: str
    shown: bool
    cause: Interaction | None
    """The interaction that decided it."""


def closes_at(recommendation: Outstanding, rules: FeedbackRules) -> int:
    """Watermark at which the recommendation is settled."""
    return recommendation.created_ms + rules.window_ms + rules.lateness_ms


def settles_at(interaction: Interaction, rules: FeedbackRules) -> int:
    """Watermark at which every recommendation that could claim the interaction is settled."""
    return interaction.time_ms + rules.window_ms + rules.lateness_ms


def due_at(shopper: Shopper, rules: FeedbackRules) -> int | None:
    """The next watermark at which something of the shopper is to be settled, rounded up to ``settle_every_ms``: settling many
    things at once is cheaper than each at its own time, and no answer depends on when it is given."""
    due = [closes_at(recommendation, rules) for recommendation in shopper.outstanding]
    if shopper.interactions:
        due.append(min(interaction.time_ms for interaction in shopper.interactions) + rules.window_ms + rules.lateness_ms)
    return -(-min(due) // rules.settle_every_ms) * rules.settle_every_ms if due else None


def belongs(interaction: Interaction, recommendation: Outstanding, others: Iterable[Outstanding], rules: FeedbackRules) -> bool:
    """Whether the interaction is an outcome of the recommendation.

    It is if it names it, or if it names none and this is the shopper's latest recommendation of the item before it; in
    either case within the window, and not so late that an orderly settlement would have missed it.
    """
    in_window = interaction.time_ms <= recommendation.created_ms + rules.window_ms
    if not in_window or interaction.offset <= recommendation.source_offset or interaction.watermark_ms >= closes_at(recommendation, rules):
        return False
    if interaction.item_id not in recommendation.items:
        return False
    if interaction.recommendation_id is not None:
        return interaction.recommendation_id == recommendation.recommendation_id
    return not any(
        recommendation.source_offset < other.source_offset < interaction.offset and interaction.item_id in other.items for other in others
    )


def verdicts(shopper: Shopper, recommendation: Outstanding, rules: FeedbackRules) -> list[Verdict]:
    """One verdict an item, in rank order; the interactions that decided are marked as claimed."""
    mine = [i for i in shopper.interactions if belongs(i, recommendation, shopper.outstanding, rules)]
    found: list[Verdict] = []
    for item_id in recommendation.items:
        about = [i for i in mine if i.item_id == item_id and i.event_type in OUTCOME_OF_EVENT]
        for interaction in about:
            interaction.claimed = True
        cause = max(about, key=lambda i: (_STRENGTH[OUTCOME_OF_EVENT[i.event_type]], -i.offset), default=None)
        outcome = OUTCOME_OF_EVENT[cause.event_type] if cause is not None else "ignored"
        found.append(Verdict(outcome, any(i.event_type == "impression" for i in about), cause))
    return found
