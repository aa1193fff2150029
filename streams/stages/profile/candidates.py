"""Which items may not be recommended to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.stages.profile.history import dismissed
from streams.stages.profile.profile import Profile
from streams.ranking.rules import ProfileRules

NEVER = np.float32(-np.inf)


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


def closed_rows(recommendable: npt.NDArray[np.bool_]) -> FloatArray:
    """float32 [rows], to be added to scores: 0, and minus infinity for what nobody may be recommended."""
    return np.where(recommendable, np.float32(0), NEVER)


def exclude(scores: FloatArray, excluded: Sequence[Sequence[str]], rows: Mapping[str, int]) -> None:
    """Set the scores [users, rows] of each user's excluded items to minus infinity, in place; unknown items don't matter."""
    closed = [[row for row in map(rows.get, items) if row is not None] for items in excluded]
    users = np.repeat(np.arange(len(closed)), [len(items) for items in closed])
    scores[users, np.fromiter(chain.from_iterable(closed), np.intp, len(users))] = NEVER
