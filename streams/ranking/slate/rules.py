"""What a list is worth beside the sum of its items' scores: weights, all 0 unless a setting says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.settings import Settings

_DAY_MS = 86_400_000
_POOL = 4
"""Times as many items as a list has places are looked at for a varied one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateRules:
    """By default a list is what scored best."""

    dismissal_weight: float = 0.0
    """What the score of an item falls by that every shopper who is shown it would dismiss."""
    return_weight: float = 0.0
    """The same, where every buyer would return it."""
    diversity_weight: float = 0.0
    """What an item falls by whose vector equals that of an item above it."""
    variants_once: bool = False
    """Whether of items with the same text the list has only the best."""
    groups_once: bool = True
    """Whether of the items of one group the list has only the best."""
    has_groups: bool = False
    """Whether the catalogue has groups: if not, nothing is looked for."""
    new_share: float = 0.0
    """Share of the places that new items have."""
    new_exposures: int = 30
    """Exposures up to which an item is new."""
    new_ms: int = 7 * _DAY_MS
    """Time after its first event in which an item is new."""

    @property
    def arranges(self) -> bool:
        """Whether a list may be another than what scored best."""
        return self.diversity_weight > 0 or self.once or self.new_share > 0

    @property
    def once(self) -> bool:
        """Whether a list has only one item of a product."""
        return self.variants_once or (self.groups_once and self.has_groups)

    def of(self, *, has_groups: bool) -> SlateRules:
        """The rules for a catalogue that has groups, or has none."""
        return self if has_groups == self.has_groups else replace(self, has_groups=has_groups)

    @property
    def counts_outcomes(self) -> bool:
        """Whether exposures, dismissals and returns are counted: only where something asks for them, since counting costs records."""
        return self.new_share > 0 or self.lowers

    @property
    def lowers(self) -> bool:
        """Whether dismissals and returns lower a score."""
        return self.dismissal_weight > 0 or self.return_weight > 0

    def pool(self, count: int) -> int:
        """How many of the best items a list of ``count`` is chosen from."""
        return _POOL * count if self.diversity_weight > 0 or self.once else count

    @classmethod
    def from_settings(cls, settings: Settings) -> SlateRules:
        """The rules from the settings."""
        return cls(
            dismissal_weight=settings.dismissal_weight,
            return_weight=settings.return_weight,
            diversity_weight=settings.diversity_weight,
            variants_once=settings.variants_once,
            groups_once=settings.groups_once,
            new_share=settings.new_items_share,
            new_exposures=settings.new_items_exposures,
            new_ms=round(settings.new_items_days * _DAY_MS),
        )
