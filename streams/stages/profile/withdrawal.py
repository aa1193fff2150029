"""What a shopper's decision, or her wish to be forgotten, makes of her profile."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

from streams.errors import ConfigurationError
from streams.privacy.consent import PERSONALIZATION
from streams.stages.profile.moves import moved_without
from streams.stages.profile.profile import Profile

_ERASED_UNTIL = b"\0erased/%d"
"""No pseudonym and no item id begins so; with the partition in it, since Faust's memory store keeps all of them in one place."""
_VERSION = b"\x01"
_OFFSET_BYTES = 8


def erased_until_key(partition: int) -> bytes:
    """The key of a stage's table under which it is kept up to which offset shoppers of the partition were erased.

    A profile knows what was applied to it, so a batch that comes again changes nothing. An erased profile knows nothing any more: this
    knows it for all of them. Who is not in the table has nothing that was applied up to this offset and is still wanted.
    """
    return _ERASED_UNTIL % partition


def dump_erased_until(offset: int) -> bytes:
    return _VERSION + offset.to_bytes(_OFFSET_BYTES, "big")


def load_erased_until(data: bytes | None) -> int:
    """-1 for None. Raises ConfigurationError if another version of the product wrote it, or it is damaged."""
    if data is None:
        return -1
    if data[:1] != _VERSION or len(data) != len(_VERSION) + _OFFSET_BYTES:
        raise ConfigurationError("the offset of the last erasure in a profile state can't be read; delete the stage's state, it is rebuilt")
    return int.from_bytes(data[1:], "big")


def decided(profile: Profile, offset: int, refused: Collection[str]) -> Profile:
    """The profile from a ``consent`` event on. Where no personalization is allowed it is another one, of which nothing is known: the given
    one stays as it is, since a recommendation of the same batch may be made of it."""
    if PERSONALIZATION in refused:
        return Profile(applied_offset=offset, was_handed_over=True, refused=tuple(refused), has_decided=True)
    profile.applied_offset, profile.refused, profile.has_decided = offset, tuple(refused), True
    return profile


def is_held_back(profile: Profile) -> bool:
    """Whether an event of this shopper was passed on by an ingest worker that did not know of the withdrawal yet."""
    if profile.moved is not None and not profile.has_decided and PERSONALIZATION in profile.moved.refused:
        return True
    return PERSONALIZATION in profile.refused


def without_item(profile: Profile, offset: int, item_id: str) -> Profile:
    """The profile without one item, as if nothing had been done with it. Another object than the given one, as above. What was recommended
    so far goes too: its reasons may name the item, and some of it may not be made yet."""
    rest = deepcopy(profile)
    rest.applied_offset, rest.issued, rest.recommended = offset, [], []
    for kept in (rest.items, rest.bought, rest.regrets, rest.counted, rest.linked_bought):
        kept.pop(item_id, None)
    if rest.moved is not None:
        rest.moved = moved_without(rest.moved, item_id)
    rest.linked = [one for one in rest.linked if one.is_query or one.ref != item_id]
    return rest
