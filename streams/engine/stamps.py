"""What an output's header says of the partition that caused it, after the record id: the tag of the stage's source partition, the topic of
its name that it was, and the base of its offsets where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from streams.engine.resume import Seen


def source_tag(stage: str, partition: int) -> bytes:
    """Four bytes that tell one source partition's outputs from another's in the tail of an output partition."""
    return crc32(f"{stage}/{partition}".encode()).to_bytes(4, "big")


def stamp_of(incarnation: int, base: int) -> bytes:
    """What follows the tag.

    >>> stamp_of(7, 0), stamp_of(7, 1)
    (b'\\x00\\x00\\x00\\x07', b'\\x00\\x00\\x00\\x07\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01')
    """
    return incarnation.to_bytes(4, "big") + (base.to_bytes(8, "big") if base else b"")


def seen_in(found: Mapping[bytes, set[tuple[str, bytes]]], incarnation: int) -> Seen:
    """What all the stamps of a source partition's outputs say, given the topic that it is now."""
    own = stamp_of(incarnation, 0)
    mine = {stamp: ids for stamp, ids in found.items() if stamp[:4] == own or len(stamp) < 4 or not incarnation}
    others = max((_base_of(stamp) for stamp in found.keys() - mine.keys()), default=-1)
    return Seen(set().union(*mine.values()), max((_base_of(stamp) for stamp in mine), default=0), others)


def _base_of(stamp: bytes) -> int:
    return int.from_bytes(stamp[4:12], "big")
