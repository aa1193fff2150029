"""What is remembered of one shopper until it is settled, and its bytes in the stage's table."""

from __future__ import annotations

import msgspec

from streams.errors import ConfigurationError

_VERSION = b"\x01"
_EVENT_IDS_KEPT = 256
_ID_BYTES = 8


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
    """A recommendation whose window is open."""

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


class Shopper(msgspec.Struct, array_like=True):
    """All that is kept of one pseudonym."""

    clean_offset: int = -1
    """Last applied offset of behaviour.clean."""
    recommendation_offset: int = -1
    """Last applied offset of recommendations."""
    watermark_ms: int = 0
    """The partition's watermark when this was last written."""
    interactions: list[Interaction] = []
    outstanding: list[Outstanding] = []
    history: list[Past] = []
    event_ids: bytes = b""

    def is_new(self, event_id: str) -> bool:
        """False where the event came before; remembers it else."""
        short = bytes.fromhex(event_id)[:_ID_BYTES]
        found = self.event_ids.find(short)
        while found != -1:
            if found % _ID_BYTES == 0:
                return False
            found = self.event_ids.find(short, found + 1)
        self.event_ids = (self.event_ids + short)[-_ID_BYTES * _EVENT_IDS_KEPT :]
        return True


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Shopper)


def dump(shopper: Shopper) -> bytes:
    """A version byte, then MessagePack."""
    return _VERSION + _encoder.encode(shopper)


def load(data: bytes) -> Shopper:
    """Raises ConfigurationError where another version of the product wrote it, or it is damaged."""
    try:
        if data[:1] == _VERSION:
            return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise ConfigurationError("a feedback state is damaged; delete the stage's local state, it is rebuilt") from error
    raise ConfigurationError("a feedback state was written by another version of veilstream; use that one, or delete the stage's state")
