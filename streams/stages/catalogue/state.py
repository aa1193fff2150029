"""The state of an item in the catalogue stage: its text and its vectors.

With the vectors, a change of stock or price needs no encoding. With the text, a new model's vectors need no new publication of the item
(docs/decisions/0007).

Measured: reading 1.6 KB of state takes some microseconds, encoding a title some milliseconds. So the vectors are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.errors import ConfigurationError

MEMBERS = b"\x00of\x00"
"""Begins the keys under which the items of a record are kept that has several; no item id holds such characters."""
_VERSION = b"\x02"
_WITHOUT_TEXT = b"\x01"


class Content(msgspec.Struct, array_like=True, frozen=True):
    """An item as it is now, as far as its vectors' records show it."""

    text_hash: str
    recommendable: bool = True
    category: str | None = None
    price_band: int | None = None
    group_id: str | None = None


class KnownItem(msgspec.Struct, array_like=True, frozen=True):
    """An item and what was written of it."""

    partition: int
    """Of ``catalogue.items``; below 0 if it is not known, and neither are text and content."""
    text: str
    content: Content
    vectors: dict[str, bytes]
    """Model version to the vector with which the item, as it is now, was written; empty if that model has none for it."""
    others: tuple[str, ...] = ()
    """Further model versions under which the item may lie in the topic as it was earlier."""

    @property
    def versions(self) -> list[str]:
        """All model versions under which the item may lie in the topic."""
        return list(dict.fromkeys((*self.vectors, *self.others)))

    def vector(self, version: str, text_hash: str) -> bytes | None:
        """The vector of this text, if it is known."""
        return self.vectors.get(version) or None if self.content.text_hash == text_hash else None

    def became(self, after: KnownItem) -> KnownItem:
        """``after``, with what is still true of the versions that it does not name."""
        same = after.content == self.content
        vectors = {**self.vectors, **after.vectors} if same else after.vectors
        return msgspec.structs.replace(after, vectors=vectors, others=tuple(v for v in self.versions if v not in vectors))

    def without(self, version: str) -> KnownItem:
        """After its tombstone under this version."""
        vectors = {name: vector for name, vector in self.vectors.items() if name != version}
        return msgspec.structs.replace(self, vectors=vectors, others=tuple(v for v in self.others if v != version))


class _Old(msgspec.Struct, array_like=True, frozen=True):
    model_version: str
    text_hash: str
    vector: bytes
    earlier_versions: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KnownItem)
_members_decoder = msgspec.msgpack.Decoder(tuple[str, ...])
_old_decoder = msgspec.msgpack.Decoder(_Old)


def dump_members(item_ids: Sequence[str]) -> bytes:
    """The items that came with the newest record of a key."""
    return _encoder.encode(tuple(item_ids))


def load_members(data: bytes | None) -> tuple[str, ...]:
    """None where nothing is known."""
    return _members_decoder.decode(data) if data is not None else ()


def dump_item(item: KnownItem) -> bytes:
    return _VERSION + _encoder.encode(item)


def load_item(data: bytes) -> KnownItem:
    """Raises ConfigurationError if another version of the product wrote it."""
    if data[:1] == _WITHOUT_TEXT:
        old = _old_decoder.decode(data[1:])
        return KnownItem(-1, "", Content(old.text_hash), {old.model_version: old.vector}, old.earlier_versions)
    if data[:1] != _VERSION:
        raise ConfigurationError("the catalogue's state was written by another version of veilstream; use that one, or delete the state")
    return _decoder.decode(data[1:])
