"""Which items may not be recommended to whom."""

from __future__ import annotations

from streams.ranking.rules import ProfileRules
from streams.stages.profile.history import dismissed
from streams.stages.profile.profile import Profile


def unwanted(profile: Profile, item_id: str | None, time_ms: int, rules: ProfileRules) -> list[str]:
    """Items that this shopper should not see now: bought within the cooldown, dismissed, and the one that is being looked at."""
    since = time_ms - rules.bought_cooldown_ms
    items = [bought for bought, bought_ms in profile.bought.items() if bought_ms > since]
    items += dismissed(profile)
    if item_id is not None:
        items.append(item_id)
    return items


def recently_recommended(profile: Profile, time_ms: int, rules: ProfileRules) -> list[str]:
    """Items that were recommended to this shopper within the cooldown."""
    since = time_ms - rules.recommended_cooldown_ms
    return [item_id for shown_ms, items in profile.recommended if shown_ms > since for item_id in items]
