"""What a shopper's decision makes of her profile."""

from __future__ import annotations

from collections.abc import Collection

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
