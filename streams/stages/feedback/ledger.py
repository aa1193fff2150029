"""The unsettled data of one shopper, and its bytes in the stage's table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from streams.errors import ConfigurationError

_VERSION = b"\x02"
_EVENT_IDS_KEPT = 256
_ID_BYTES = 8


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """How far a partition's two sources have been read."""

    clean_offset: int = -1
    """Last offset of behaviour.clean."""
    watermark_ms: int = 0
    """Greatest event time up to there."""
    recommendation_offset: int = -1
    """Last offset of recommendations."""
    source_offset: int = -1
    """Every recommendation that an event of behaviour.clean up to this offset caused has been read: they come in the order of
    the events that caused them."""


class Interaction(msgspec.Struct, array_like=True):
    """Something that the shopper did with an item, not settled yet."""

    offset: int
    """In behaviour.clean: the order of things."""
    time_ms: int
    event_type: str
    item_id: str
    event_id: str
    recommendation_id: str | None
    """Where the front end named it."""
    watermark_ms: int
    """The partition's watermark when it came: how late it was."""
    claimed: bool = False
    """True once a recommendation has it as its outcome."""


class Outstanding(msgspec.Struct, array_like=True):
    """A recommendation that is not settled yet."""

    recommendation_id: str
    created_ms: int
    source_offset: int
    policy: str
    model_version: str
    items: list[str]


class Past(msgspec.Struct, array_like=True):
    """One element of the history for training pairs."""

    offset: int
    time_ms: int
    kind: str
    ref: str
    event_type: str


class MovedPast(msgspec.Struct, array_like=True, frozen=True):
    """One element of the history under a former pseudonym (``moves``): before all that was done under this one."""

    move: bytes
    """The beginning of the id of the move that brought it, and ..."""
    offset: int
    """... its place there: they name it."""
    time_ms: int
    kind: str
    ref: str
    event_type: str


class Shopper(msgspec.Struct, array_like=True):
    """All that is kept of one pseudonym."""

    clean_offset: int = -1
    """Last applied offset of behaviour.clean."""
    recommendation_offset: int = -1
    """Last applied offset of recommendations."""
    after: Progress = Progress()
    """The partition's progress when this was last written ..."""
    before: Progress = Progress()
    """... and before the batch that it was written with: that batch may be written in part only, and come again."""
    interactions: list[Interaction] = []
    outstanding: list[Outstanding] = []
    history: list[Past] = []
    event_ids: bytes = b""
    is_refused: bool = False
    """The shopper does not allow, by the last ``consent`` event, that something is learnt."""
    refused_offset: int = -1
    """Of the last ``consent`` event that refused, or of the last ``erase`` event: nothing before it counts."""
    is_erased: bool = False
    """Only kept until the recommendations from before the erasure have been read."""
    forgotten: dict[str, int] = {}
    """Items that are to be forgotten, and the offset of the ``erase`` event; as long as that."""
    moved_offset: int = -1
    """Of the last event that moved her to another pseudonym; -1: none did. What is not settled stays until it is."""
    moved: list[MovedPast] = []
    """What was done under former pseudonyms, oldest first."""
    moved_refused: bool = False
    """She allowed nothing to be learnt under a former pseudonym; it holds until she decides anew."""
    has_decided: bool = False

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known but up to where nothing is wanted any more."""
        return self == Shopper(clean_offset=self.clean_offset, refused_offset=self.refused_offset)

    @property
    def refuses(self) -> bool:
        """Whether nothing may be learnt."""
        return self.is_refused or (self.moved_refused and not self.has_decided)

    def decide(self, offset: int, is_refused: bool) -> None:
        """From a ``consent`` event on."""
        self.is_refused, self.has_decided = is_refused, True
        if is_refused:
            self.moved = []
            self.refused_offset = offset
            self.interactions, self.history, self.event_ids = [], [], b""
            # The other topic may have been read further: what came after stays.
            self.outstanding = [one for one in self.outstanding if one.source_offset > offset]
            self.forgotten = {}

    def erase(self, offset: int) -> None:
        """From an ``erase`` event on."""
        self.decide(offset, is_refused=True)
        self.is_refused, self.is_erased, self.moved_refused = False, True, False

    def is_gone(self, source_offset: int) -> bool:
        """Whether nothing is left to be kept once recommendations are read as far as those of the event at ``source_offset``."""
        if self.interactions or self.outstanding:
            return False
        if self.moved_offset >= 0 and self.clean_offset <= self.moved_offset:
            return source_offset >= self.moved_offset
        is_bare = not (self.history or self.event_ids or self.is_refused or self.moved or self.moved_refused)
        return self.is_erased and is_bare and source_offset >= self.refused_offset

    def forget_item(self, offset: int, item_id: str) -> None:
        """From an ``erase`` event on that is about one item. A list that names it is settled no more: places would be others without it."""
        self.interactions = [one for one in self.interactions if one.item_id != item_id]
        self.history = [one for one in self.history if one.kind != "item" or one.ref != item_id]
        self.moved = [one for one in self.moved if one.kind != "item" or one.ref != item_id]
        self.forgotten[item_id] = offset
        self.outstanding = [one for one in self.outstanding if not self.names_forgotten(one.source_offset, one.items)]

    def names_forgotten(self, source_offset: int, items: Iterable[str]) -> bool:
        """Whether a list, made after the event at ``source_offset``, names an item that was to be forgotten later."""
        return any(self.forgotten.get(item_id, -1) >= source_offset for item_id in items)

    @property
    def marked_until(self) -> int:
        """Recommendations must be read as far as those of the event at this offset until no mark is needed; -1 where there is none."""
        return max([self.refused_offset if self.is_erased else -1, self.moved_offset, *self.forgotten.values()])

    def is_idle_since(self, time_ms: float) -> bool:
        """Whether nothing of the shopper's is waited for, and all that is kept was done before. False where nothing tells a time: what is
        left then is no more than marks."""
        if self.interactions or self.outstanding or self.is_refused or self.marked_until >= 0:
            return False
        return bool(self.history) and max(past.time_ms for past in self.history) < time_ms

    def drop_marks(self, source_offset: int) -> bool:
        """Of forgotten items, once recommendations are read as far; whether there were such."""
        kept = {item_id: offset for item_id, offset in self.forgotten.items() if offset > source_offset}
        dropped, self.forgotten = len(kept) < len(self.forgotten), kept
        return dropped

    def is_new(self, event_id: str) -> bool:
        """False if the event came before; remembers it else."""
        short = bytes.fromhex(event_id)[:_ID_BYTES]
        found = self.event_ids.find(short)
        while found != -1:
            if found % _ID_BYTES == 0:
                return False
            found = self.event_ids.find(short, found + 1)
        self.event_ids = (self.event_ids + short)[-_ID_BYTES * _EVENT_IDS_KEPT :]
        return True

    def trim_history(self, size: int, kept: int, source_offset: int) -> None:
        """Remove history that no training pair can need. A pair has the ``size`` elements before its target. Targets are unsettled
        interactions, outstanding recommendations, and future recommendations for events after ``source_offset``. At most ``size +
        kept`` elements stay.
        """
        history = self.history
        if len(history) <= size:
            return
        # All three lists are in the order of offsets.
        needed = source_offset + 1
        if self.interactions:
            needed = min(needed, self.interactions[0].offset)
        if self.outstanding:
            needed = min(needed, self.outstanding[0].source_offset + 1)
        before = bisect_left(history, needed, key=lambda past: past.offset)
        del history[: max(before - size, len(history) - size - kept, 0)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Shopper)


def dump(shopper: Shopper) -> bytes:
    """A version byte, then MessagePack."""
    return _VERSION + _encoder.encode(shopper)


def load(data: bytes) -> Shopper:
    """Raises ConfigurationError if another version of the product wrote it, or it is damaged."""
    try:
        if data[:1] == _VERSION:
            return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError("a feedback state is damaged; delete the stage's local state, it is rebuilt") from error
    raise ConfigurationError("a feedback state was written by another version of veilstream; use that one, or delete the stage's state")
