"""What is bought together: how a purchase adds to the counts of pairs, and how a count is kept.

A pair is counted under the item that was bought later: once for a shopper, with those bought in the same session in full, with those
bought before it with less. All counts decay. They are kept as if they had been taken at one landmark, weight · 2^((time - landmark) /
half-life), so that an event costs an addition and never a pass over the counts (forward decay: Cormode, Shkapenyuk, Srivastava, Xu,
"Forward decay: a practical time decay model for streaming systems", ICDE 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from streams.settings import Settings

_LANDMARK_HALF_LIVES = 64
"""The landmark is moved after so many half-lives; 2^64 is far within a double's range."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherRules:
    """Times are milliseconds of event time. What a setting decides has no default here."""

    half_life_ms: float
    """Age at which a pair counts half. A shopper who buys the same item again within it adds nothing."""
    shoppers: int
    """Shoppers, in one partition, from which on a pair is published."""
    session_ms: int = 3 * 3600 * 1000
    """Purchases so near to each other are one basket."""
    before_weight: float = 0.3
    """What an earlier purchase counts, beside 1 for one of the same basket; it halves with every ``before_half_life_ms``."""
    before_half_life_ms: float = 30.0 * _DAY_MS
    recent: int = 12
    """How many of the shopper's last purchases a new one is paired with."""
    partners: int = 48
    """Pairs kept for an item. Twice as many may be there for a while, so that new ones get the time to grow."""
    growth: float = 0.25
    """An item's pairs are published when so much has been added since the last time, as a share of what there was."""

    @classmethod
    def from_settings(cls, settings: Settings) -> TogetherRules:
        """The rules under the product's settings."""
        return cls(half_life_ms=settings.together_half_life_days * _DAY_MS, shoppers=settings.together_shoppers)


class ItemPairs(msgspec.Struct, array_like=True):
    """The pairs counted under one item."""

    applied_offset: int = -1
    """Of the last purchase that counted."""
    landmark_ms: int = 0
    total: float = 0.0
    """Shoppers who bought it, decayed; at the landmark, as the counts below."""
    partners: dict[str, tuple[float, int]] = {}
    """Item to decayed count and number of shoppers."""
    counted: int = 0
    """Purchases counted so far."""
    published: int = 0
    """Of these, how many were counted when the pairs were last published."""


def count_purchase(
    pairs: ItemPairs, item_id: str, bought: dict[str, int], before_ms: int | None, time_ms: int, rules: TogetherRules
) -> bool:
    """Add a purchase of ``item_id`` to its pairs, in place. ``bought`` says when the shopper bought what, in order, with or without this
    purchase; ``before_ms`` when she bought this item last. Returns False where the purchase counts already."""
    if before_ms is not None and time_ms - before_ms <= rules.half_life_ms:
        return False
    if not pairs.counted or time_ms - pairs.landmark_ms > _LANDMARK_HALF_LIVES * rules.half_life_ms:
        _move_landmark(pairs, time_ms, rules)
    one = 2.0 ** ((time_ms - pairs.landmark_ms) / rules.half_life_ms)
    pairs.total += one
    pairs.counted += 1
    partners, paired = pairs.partners, 0
    for other in reversed(bought):
        if other == item_id:
            continue
        age_ms = abs(time_ms - bought[other])
        weight = 1.0 if age_ms <= rules.session_ms else rules.before_weight * 2.0 ** (-age_ms / rules.before_half_life_ms)
        count, shoppers = partners.get(other, (0.0, 0))
        # One shopper who buys it again, after years or with the dates of years, is still one shopper.
        partners[other] = (count + weight * one, shoppers + (before_ms is None))
        paired += 1
        if paired == rules.recent:
            break
    if len(partners) > 2 * rules.partners:
        kept = sorted(partners, key=lambda other: (-partners[other][0], other))[: rules.partners]
        pairs.partners = {other: partners[other] for other in kept}
    return True


def is_due(pairs: ItemPairs, rules: TogetherRules) -> bool:
    """Whether the pairs have changed enough to be published. Those of fewer shoppers than a pair needs never are."""
    return pairs.counted >= rules.shoppers and pairs.counted - pairs.published >= max(1.0, rules.growth * pairs.published)


def publishable(pairs: ItemPairs, as_of_ms: int, rules: TogetherRules) -> tuple[float, dict[str, float]]:
    """The item's decayed total, and the counts of the pairs that enough shoppers have, largest first, decayed to ``as_of_ms``."""
    factor = 2.0 ** ((pairs.landmark_ms - as_of_ms) / rules.half_life_ms)
    least = rules.shoppers
    kept = sorted((-count, other) for other, (count, shoppers) in pairs.partners.items() if shoppers >= least)[: rules.partners]
    return pairs.total * factor, {other: -count * factor for count, other in kept}


def _move_landmark(pairs: ItemPairs, time_ms: int, rules: TogetherRules) -> None:
    factor = 2.0 ** ((pairs.landmark_ms - time_ms) / rules.half_life_ms) if pairs.counted else 0.0
    pairs.total *= factor
    pairs.partners = {other: (count * factor, shoppers) for other, (count, shoppers) in pairs.partners.items()}
    pairs.landmark_ms = time_ms
