"""What the feedback stage keeps of a shopper, under the old pseudonym and the new one, while the key is rotated.

The history goes, for the pairs to come, and what she does not allow. What is not settled stays where it is, and is settled with what was
done under the old pseudonym: a record on one of its lists that a later event decided would have both in the open, the list's id and the
event. So such an event is an example without a list, and of the lists that were open only reactions are told, not that there were none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from streams.privacy.moves import Announcement, hand_over_id
from streams.stages.feedback.ledger import MovedPast, Past, Shopper
from streams.topics import BEHAVIOUR_CLEAN, BY_NAME

_NAME_BYTES = 8
HELD_MS = BY_NAME[BEHAVIOUR_CLEAN].retention_ms or 0
"""For so long nothing that is published names what was done under a former pseudonym."""


class FeedbackMove(msgspec.Struct, array_like=True, frozen=True):
    """What the stage says, sealed, to the partition of the new pseudonym."""

    move_id: bytes
    what: Literal["state", "forget"]
    old: str
    new: str
    item_id: str | None = None
    """Of ``forget``: only what has to do with it."""
    history: list[MovedPast] = []
    is_refused: bool = False


def leave(shopper: Shopper, said: Announcement, offset: int, size: int) -> FeedbackMove | None:
    """Apply in place what ingest said at this offset of the old pseudonym's partition; what is to be sent. ``size``: most elements of a
    history. To forget is said in any case: what was sent before may be on its way."""
    move_id = hand_over_id(said.move_id, offset)
    if said.what == "forget":
        if said.item_id is not None:
            shopper.forget_item(offset, said.item_id)
        elif not shopper.is_blank:
            shopper.erase(offset)
        return FeedbackMove(move_id, "forget", said.old, said.new, item_id=said.item_id)
    name = move_id[:_NAME_BYTES]
    own = [_moved(name, past) for past in shopper.history if past.offset > shopper.moved_offset]
    history = [] if said.what == "hand_over" else newest([*shopper.moved, *own], size)  # no browser's history becomes a user's here
    refuses = shopper.refuses
    if not shopper.is_blank:
        shopper.moved_offset, shopper.moved = offset, []
    if not history and not refuses:
        return None
    return FeedbackMove(move_id, "state", said.old, said.new, history=history, is_refused=refuses)


def arrive(shopper: Shopper, move: FeedbackMove, size: int) -> bool:
    """Apply in place what was said; whether that changes anything. Commutative, associative and idempotent, as ``profile.links``."""
    before = (shopper.moved, shopper.moved_refused)
    if move.what == "forget":
        kept = [] if move.item_id is None else [one for one in shopper.moved if one.kind != "item" or one.ref != move.item_id]
        shopper.moved = kept
        if move.item_id is None:
            shopper.moved_refused = False
    else:
        shopper.moved_refused = shopper.moved_refused or move.is_refused
        shopper.moved = [] if shopper.refuses else newest([*shopper.moved, *move.history], size)
    return (shopper.moved, shopper.moved_refused) != before


def newest(elements: Iterable[MovedPast], size: int) -> list[MovedPast]:
    """The latest, each once, in one total order."""
    return sorted(set(elements), key=_place)[-size:]


def _place(one: MovedPast) -> tuple[int, bytes, int]:
    return (one.time_ms, one.move, one.offset)


def _moved(name: bytes, past: Past) -> MovedPast:
    return MovedPast(name, past.offset, past.time_ms, past.kind, past.ref, past.event_type)
