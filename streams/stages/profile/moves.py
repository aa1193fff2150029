"""A profile under an old pseudonym goes to the new one: what leaves, what arrives, and how it is seen with what was done since.

What arrives is kept apart from what the shopper did under the new pseudonym, and taking it in is a union: of every element, known by its
name, the greater counts, and of all elements the greatest are kept. So the same move twice, or several in any order, or between any events,
give the same profile. See ``links`` for the proof; the history is taken in by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Literal

import msgspec

from streams.privacy.consent import PERSONALIZATION
from streams.privacy.moves import Announcement, hand_over_id
from streams.ranking.rules import ProfileRules
from streams.stages.profile.influence import newest_counted
from streams.stages.profile.links import latest, strongest, union_of_times
from streams.stages.profile.profile import Linked, Moved, Profile
from streams.topics import BEHAVIOUR_CLEAN, BY_NAME

_LINK_BYTES = 8
HELD_MS = BY_NAME[BEHAVIOUR_CLEAN].retention_ms or 0


class ProfileMove(msgspec.Struct, array_like=True, frozen=True):
    """What the stage says, sealed, to the partition of the new pseudonym."""

    move_id: bytes
    what: Literal["state", "forget", "hand_over"]
    old: str
    new: str
    to: str = ""
    """Of ``hand_over``: whose it is from now on what had come to ``new``."""
    item_id: str | None = None
    """Of ``forget``: only what has to do with it."""
    refused: tuple[str, ...] = ()
    received_ms: int = 0
    state: Moved | None = None
    is_same: bool = True
    """Whether both pseudonyms are of one shopper. False: of a browser, and of the user who it turned out to be."""


def leave(profile: Profile, said: Announcement, offset: int, rules: ProfileRules) -> tuple[Profile | None, list[ProfileMove]]:
    """What stays under the old pseudonym (None: nothing), and what is sent to the new one. The given profile stays as it is.

    What stays says how far events are applied, so that none comes again, and nothing else. To forget, and to hand over, is said in any
    case: what was sent before may be on its way.
    """
    move_id, is_somebody = hand_over_id(said.move_id, offset), not is_empty(profile)
    forgets = said.what == "forget" and (not said.refused or PERSONALIZATION in said.refused)
    if forgets and said.item_id is not None:
        told = ProfileMove(move_id, "forget", said.old, said.new, item_id=said.item_id, received_ms=said.received_ms)
        return (profile if is_somebody else None), [told]
    left = Profile(applied_offset=offset, was_moved=True) if is_somebody else None
    if forgets:
        told = ProfileMove(move_id, "forget", said.old, said.new, refused=said.refused, received_ms=said.received_ms)
        return (None if not said.refused else left), [told]
    to = said.to if said.what == "hand_over" else said.new
    moved = _all_of(profile, move_id, rules)
    if said.what == "hand_over":
        moved = Moved(linked=moved.linked, bought=moved.bought)
    is_same = said.what != "hand_over"
    sent = [ProfileMove(move_id, "state", said.old, to, state=moved, is_same=is_same)] if moved != Moved() else []
    if said.what == "hand_over":
        sent.append(ProfileMove(move_id, "hand_over", said.old, said.new, to=said.to))
    return left, sent


def arrive(profile: Profile, move: ProfileMove, rules: ProfileRules) -> tuple[bool, ProfileMove | None]:
    """Apply in place what was said; whether that changes anything, and what is to be sent on."""
    before = profile.moved
    if move.what == "state":
        if PERSONALIZATION in profile.refused or move.state is None:
            return False, None
        profile.moved = united(before or Moved(), move.state, rules)
        return profile.moved != before, None
    if before is None:
        return False, None
    if move.item_id is not None:
        profile.moved = moved_without(before, move.item_id)
        return profile.moved != before, None
    profile.moved = None
    rest = Moved(linked=before.linked, bought=before.bought)
    sends = move.what == "hand_over" and rest != Moved() and PERSONALIZATION not in before.refused
    return True, ProfileMove(move.move_id, "state", move.new, move.to, state=rest, is_same=False) if sends else None


def united(first: Moved, second: Moved, rules: ProfileRules) -> Moved:
    """Both as one: commutative, associative, and with itself the same. A refusal leaves nothing beside it."""
    refused = tuple(sorted({*first.refused, *second.refused}))
    if PERSONALIZATION in refused:
        return Moved(refused=refused, was_handed_over=True)
    shown = {(time_ms, tuple(items)) for time_ms, items in chain(first.recommended, second.recommended)}
    regrets = {item: first.regrets.get(item, 0) | second.regrets.get(item, 0) for item in {**first.regrets, **second.regrets}}
    return Moved(
        linked=strongest(chain(first.linked, second.linked), rules),
        bought=latest(union_of_times(first.bought, second.bought), rules.bought_size),
        recommended=[(time_ms, list(items)) for time_ms, items in sorted(shown)[-rules.recommended_size :]],
        regrets=dict(sorted(regrets.items())[-rules.bought_size :]),
        counted=newest_counted(first.counted, second.counted, rules.popularity_events_a_day),
        counted_days=max(first.counted_days, second.counted_days),
        was_handed_over=first.was_handed_over or second.was_handed_over,
        refused=refused,
    )


def unnamed(profile: Profile, at_ms: int) -> frozenset[str]:
    """Items that no reason may name now: they were dealt with under a former pseudonym only, and the topics still hold its events. Whoever
    reads both would know one by the other."""
    if profile.moved is None:
        return frozenset()
    since = at_ms - HELD_MS
    return frozenset(
        one.ref for one in profile.moved.linked if not one.is_query and one.entry.time_ms > since and one.ref not in profile.items
    )


def is_empty(profile: Profile) -> bool:
    """Whether nothing was ever done under the pseudonym, and nothing has arrived: but for up to where nothing is wanted any more."""
    return profile == Profile(applied_offset=profile.applied_offset)


def bought_of(profile: Profile) -> Mapping[str, int]:
    """When items were bought, under this pseudonym and former ones."""
    return profile.bought if profile.moved is None else union_of_times(profile.bought, profile.moved.bought)


def counts_for_all(profile: Profile) -> bool:
    """Whether what is done counts in what all shoppers see."""
    return not (profile.was_handed_over or profile.was_moved or (profile.moved is not None and profile.moved.was_handed_over))


def _all_of(profile: Profile, move_id: bytes, rules: ProfileRules) -> Moved:
    refused = tuple(sorted(profile.refused))
    if PERSONALIZATION in refused:
        return Moved(refused=refused, was_handed_over=True)
    name = move_id[:_LINK_BYTES]
    own = [
        Linked(name, is_query, ref, one) for is_query, of in ((False, profile.items), (True, profile.queries)) for ref, one in of.items()
    ]
    all_own = Moved(
        linked=[*own, *profile.linked],
        bought=union_of_times(profile.bought, profile.linked_bought),
        recommended=list(profile.recommended),
        regrets=profile.regrets,
        counted=profile.counted,
        counted_days=profile.counted_days,
        was_handed_over=profile.was_handed_over,
        refused=refused,
    )
    before = profile.moved or Moved()
    if profile.has_decided:
        before = Moved() if PERSONALIZATION in before.refused else msgspec.structs.replace(before, refused=())
    return united(all_own, before, rules)


def moved_without(moved: Moved, item_id: str) -> Moved:
    """As if nothing had been done with the item; what was recommended goes, too, since its reasons may name it."""

    def rest(of: Mapping[str, object]) -> dict[str, object]:
        return {item: value for item, value in of.items() if item != item_id}

    return msgspec.structs.replace(
        moved,
        linked=[one for one in moved.linked if one.is_query or one.ref != item_id],
        recommended=[],
        **{name: rest(getattr(moved, name)) for name in ("bought", "regrets", "counted")},
    )
