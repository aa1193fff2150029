"""How much one shopper moves what all shoppers see.

Whatever a shopper does with an item, and however often: at any moment it counts in the item's popularity as much as her weightiest event
would by itself, decayed, and no more. An event adds what is missing to that. So the profile keeps when she last did what with the last
items whose events counted, and how many of her events have counted this day. Of an item that is no longer kept it is supposed that it
counted in full just before all that are: whoever goes round more items than are kept gains nothing.

Who does nothing but push one item is no shopper. So the first items of a shopper count little, and in full what comes after a handful of
others (``breadth``): a push costs as many events with other items, and these count for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct

from streams.ranking.popularity import OTHER_HALF_LIVES_MS, decay
from streams.ranking.rules import CART, CLICK, DAY_MS, PURCHASE, VIEW, WISHLIST, ProfileRules
from streams.stages.profile.profile import Profile

Weights = tuple[float, float, float, float]
"""By half-life: the one that is a setting, then ``OTHER_HALF_LIVES_MS``."""

_COUNTED = (VIEW, CLICK, CART, WISHLIST, PURCHASE)
_TIMES = Struct("<5I")
"""Seconds since 1970 of the last of each, rounded up; 0: never."""
_NEVER = (0, 0, 0, 0, 0)
_LATEST_S = 2**32 - 1
_ALONE = 0.02
"""With one item only. Not nothing: in a new shop's first minutes it is all there is."""
_MOST = -64.0
"""Half-lives that one event may be later than another: 2^64 is far within a double's range."""


def popularity_weights(profile: Profile, item_id: str, code: int, time_ms: int, rules: ProfileRules) -> Weights | None:
    """What an event adds to the counts of its item; None if it adds nothing. It is noted in the profile, in place.

    >>> from streams.settings import Settings
    >>> rules, shopper = ProfileRules.from_settings(Settings(popularity_half_life_days=5, popularity_breadth=1)), Profile()
    >>> popularity_weights(shopper, "i1", PURCHASE, 0, rules), popularity_weights(shopper, "i1", PURCHASE, 5 * DAY_MS, rules)[0]
    ((1.0, 1.0, 1.0, 1.0), 0.5)
    """
    weight = rules.popularity_weights[code]
    if not weight:
        return None
    known = profile.counted.get(item_id)
    times = _NEVER if known is None else _TIMES.unpack(known)
    before = [(rules.popularity_weights[did], time_ms - 1000 * at_s) for did, at_s in zip(_COUNTED, times, strict=True) if at_s]
    if known is None and len(profile.counted) >= rules.popularity_events_a_day:
        oldest = _TIMES.unpack(next(iter(profile.counted.values())))
        before = [(max(rules.popularity_weights), time_ms - 1000 * max(oldest))]
    added: Weights = (weight, weight, weight, weight)
    if before:
        half_lives = (rules.popularity_half_life_ms, *OTHER_HALF_LIVES_MS)
        first, second, third, fourth = (missing(weight, before, half_life_ms) for half_life_ms in half_lives)
        added = (first, second, third, fourth)
        if not any(added):
            return None
    moved = profile.moved.counted if profile.moved is not None else {}
    day = time_ms // DAY_MS
    if profile.counted_day != day:
        profile.counted_day, profile.counted_events = day, 0
        profile.counted_days += 1
    if profile.counted_events >= rules.popularity_events_a_day:
        return None
    profile.counted_events += 1
    place = _COUNTED.index(code)
    latest = min(max(times[place], 1, -(-time_ms // 1000)), _LATEST_S)
    profile.counted.pop(item_id, None)
    others = len(profile.counted) + sum(known not in profile.counted for known in moved if known != item_id)
    share = breadth(others + 1, rules.popularity_breadth)
    profile.counted[item_id] = _TIMES.pack(*(latest if n == place else at_s for n, at_s in enumerate(times)))
    if len(profile.counted) > rules.popularity_events_a_day:
        del profile.counted[next(iter(profile.counted))]
    if item_id in moved:
        # What counted under a former pseudonym counts still. Looked at here only, it leaves what is kept of this one independent of it.
        ages = zip(_COUNTED, _TIMES.unpack(moved[item_id]), strict=True)
        before = [(rules.popularity_weights[did], time_ms - 1000 * at_s) for did, at_s in ages if at_s]
        half_lives = (rules.popularity_half_life_ms, *OTHER_HALF_LIVES_MS)
        first, second, third, fourth = (
            min(one, missing(weight, before, half_life_ms)) for one, half_life_ms in zip(added, half_lives, strict=True)
        )
        added = (first, second, third, fourth)
        if not any(added):
            return None
    return (added[0] * share, added[1] * share, added[2] * share, added[3] * share)


def newest_counted(first: Mapping[str, bytes], second: Mapping[str, bytes], most: int) -> dict[str, bytes]:
    """What counted under two pseudonyms of one shopper: when each thing was last done with each item, the ``most`` latest of these."""
    times: dict[tuple[str, int], int] = {}
    for counted in (first, second):
        for item_id, packed in counted.items():
            for place, at_s in enumerate(_TIMES.unpack(packed)):
                if at_s:
                    times[item_id, place] = max(at_s, times.get((item_id, place), 0))
    kept: dict[str, list[int]] = {}
    for (item_id, place), at_s in sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[-most:]:
        kept.setdefault(item_id, list(_NEVER))[place] = at_s
    return {item_id: _TIMES.pack(*kept[item_id]) for item_id in sorted(kept)}


def is_newcomer(profile: Profile) -> bool:
    """Whether what counted of her was on one day: what she does for an item is held back while nobody but newcomers does it (``held_back``
    in ``streams/ranking/popularity.py``)."""
    return profile.counted_days + (profile.moved.counted_days if profile.moved is not None else 0) <= 1


def breadth(items: int, full: int) -> float:
    """The share of its weight with which an event counts of a shopper whose events were with so many different items, this one included:
    rising by as much with each, up to 1 from ``full`` on.

    >>> [round(breadth(items, 5), 3) for items in (1, 2, 4, 5, 9)]
    [0.02, 0.265, 0.755, 1.0, 1.0]
    """
    return 1.0 if items >= full else _ALONE + (1 - _ALONE) * (items - 1) / (full - 1)


def missing(weight: float, before: Iterable[tuple[float, float]], half_life_ms: float) -> float:
    """What an event of this weight adds where others, (weight, age in milliseconds), count already. One that happened later, and came
    before, has an age below 0, and counts more than it would have then."""
    return max(0.0, weight - max(known * decay(max(age_ms, _MOST * half_life_ms), half_life_ms) for known, age_ms in before))
