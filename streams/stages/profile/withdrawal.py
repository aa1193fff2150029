"""What a shopper's decision, or her wish to be forgotten, makes of her profile."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

from streams.privacy.consent import PERSONALIZATION
from streams.stages.profile.profile import Profile


def decided(profile: Profile, offset: int, refused: Collection[str]) -> Profile:
    """The profile from a ``consent`` event on. Where no personalization is allowed it is another one, of which nothing is known: the given
    one stays as it is, since a recommendation of the same batch may be made of it."""
    if PERSONALIZATION in refused:
        return Profile(applied_offset=offset, was_handed_over=True, refused=tuple(refused))
    profile.applied_offset, profile.refused = offset, tuple(refused)
    return profile


def is_held_back(profile: Profile) -> bool:
    """Whether an event of this shopper was passed on by an ingest worker that did not know of the withdrawal yet."""
    return PERSONALIZATION in profile.refused


def without_item(profile: Profile, offset: int, item_id: str) -> Profile:
    """The profile without one item, as if nothing had been done with it. Another object than the given one, as above. What was recommended
    so far goes too: its reasons may name the item, and some of it may not be made yet."""
    rest = deepcopy(profile)
    rest.applied_offset, rest.issued, rest.recommended = offset, [], []
    for kept in (rest.items, rest.bought, rest.regrets, rest.counted, rest.linked_bought):
        kept.pop(item_id, None)
    rest.linked = [one for one in rest.linked if one.is_query or one.ref != item_id]
    return rest
