"""The positions of a stage's outputs when a source offset was committed. They are stored in the commit's metadata.

Everything that the uncommitted records of a source partition have caused lies at or after these positions. So the next owner of the
partition reads from here to the end, and finds what is already written. A stored position may be too early, but never too late. If the
positions do not fit into the metadata, their lowest bits are left out.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import NamedTuple

import msgspec

MAX_METADATA_BYTES = 4096
"""Kafka's default ``offset.metadata.max.bytes``."""

_VERSION = "p2:"
_BEFORE = "p1:"

Positions = dict[tuple[str, int], int]


class CommitNote(NamedTuple):
    """What a commit says besides the offset."""

    positions: Positions
    base: int = 0
    """Is added to the topic's offsets, so that they continue after those of an earlier topic of the same name."""
    incarnation: int = 0
    """Which topic of this name it is (``incarnation_of``); 0: not known."""


def encode_note(note: CommitNote) -> str:
    """Text of at most 4096 bytes.

    >>> decode_note(encode_note(CommitNote({("a", 0): 7, ("a", 2): 1}, base=5)))
    CommitNote(positions={('a', 0): 7, ('a', 2): 1}, base=5, incarnation=0)
    """
    for shift in range(64):
        encoded = _encode(note, shift)
        if len(encoded) <= MAX_METADATA_BYTES:
            return encoded
    raise AssertionError("even the names of the partitions alone do not fit")


def decode_note(metadata: str | None) -> CommitNote | None:
    """None if the metadata is absent or another program's."""
    if not metadata:
        return None
    try:
        if metadata.startswith(_BEFORE):
            return CommitNote(_decode_before(metadata[len(_BEFORE) :]))
        if not metadata.startswith(_VERSION):
            return None
        packed = zlib.decompress(base64.b85decode(metadata[len(_VERSION) :]))
        base, incarnation, shift, topics = msgspec.msgpack.decode(
            packed, type=tuple[int, int, int, list[tuple[str, int, int, bytes, bytes]]]
        )
    except (ValueError, zlib.error, binascii.Error, msgspec.MsgspecError):
        return None
    positions: Positions = {}
    for topic, lowest, width, partitions, bits in topics:
        numbers = _partitions(partitions)
        values = int.from_bytes(bits, "big")
        for place, partition in enumerate(reversed(numbers)):
            positions[(topic, partition)] = (lowest + (values >> (place * width) & ((1 << width) - 1))) << shift
    return CommitNote(dict(sorted(positions.items())), base, incarnation)


def _encode(note: CommitNote, shift: int) -> str:
    by_topic: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in note.positions.items():
        by_topic.setdefault(topic, {})[partition] = offset >> shift
    topics = []
    for topic, offsets in sorted(by_topic.items()):
        lowest = min(offsets.values())
        width = max((max(offsets.values()) - lowest).bit_length(), 1)
        values = 0
        for _, offset in sorted(offsets.items()):
            values = values << width | (offset - lowest)
        # All offsets of a topic side by side, each in as many bits as the greatest needs.
        topics.append((topic, lowest, width, _ranges(sorted(offsets)), values.to_bytes((len(offsets) * width + 7) // 8, "big")))
    packed = msgspec.msgpack.encode((note.base, note.incarnation, shift, topics))
    return _VERSION + base64.b85encode(zlib.compress(packed, 6)).decode()


def _ranges(partitions: list[int]) -> bytes:
    """Sorted numbers as first and length of each unbroken run."""
    runs: list[int] = []
    for partition in partitions:
        if runs and runs[-2] + runs[-1] == partition:
            runs[-1] += 1
        else:
            runs += [partition, 1]
    return msgspec.msgpack.encode(runs)


def _partitions(ranges: bytes) -> list[int]:
    runs = msgspec.msgpack.decode(ranges, type=list[int])
    return [first + n for first, length in zip(runs[::2], runs[1::2], strict=True) for n in range(length)]


def _decode_before(encoded: str) -> Positions:
    """The text of versions up to 0.1.0."""
    result: Positions = {}
    for line in zlib.decompress(base64.b85decode(encoded)).decode().splitlines():
        topic, _, rest = line.partition(" ")
        for pair in rest.split():
            partition, _, offset = pair.partition("=")
            result[(topic, int(partition))] = int(offset, 16)
    return result
