"""Where a stage's outputs stood when a source offset was committed; travels in the commit's metadata.

Everything that a source partition's uncommitted records may have caused lies at or after these positions, so whoever
takes the partition over finds what is already written by reading from here to the end.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping

from streams.errors import ConfigurationError

MAX_METADATA_BYTES = 4096
"""Kafka's default ``offset.metadata.max.bytes``."""

_VERSION = "p1:"

Positions = dict[tuple[str, int], int]


def encode_positions(positions: Mapping[tuple[str, int], int]) -> str:
    """Text of at most 4096 bytes. Raises ConfigurationError where there are too many output partitions for that.

    >>> decode_positions(encode_positions({("a", 0): 7, ("a", 2): 1}))
    {('a', 0): 7, ('a', 2): 1}
    """
    lines = [
        f"{topic} {' '.join(f'{p}={offset:x}' for p, offset in sorted(parts.items()))}"
        for topic, parts in sorted(_by_topic(positions).items())
    ]
    text = "\n".join(lines)
    encoded = _VERSION + base64.b85encode(zlib.compress(text.encode(), 6)).decode()
    if len(encoded) > MAX_METADATA_BYTES:
        raise ConfigurationError(
            f"{len(positions)} output partitions do not fit into a commit's metadata "
            f"({len(encoded)} > {MAX_METADATA_BYTES} bytes); use fewer partitions"
        )
    return encoded


def decode_positions(metadata: str | None) -> Positions | None:
    """None where the metadata is absent or another program's."""
    if not metadata or not metadata.startswith(_VERSION):
        return None
    try:
        text = zlib.decompress(base64.b85decode(metadata[len(_VERSION) :])).decode()
        result: Positions = {}
        for line in text.splitlines():
            topic, _, rest = line.partition(" ")
            for pair in rest.split():
                partition, _, offset = pair.partition("=")
                result[(topic, int(partition))] = int(offset, 16)
        return result
    except (ValueError, zlib.error, binascii.Error):
        return None


def _by_topic(positions: Mapping[tuple[str, int], int]) -> dict[str, dict[int, int]]:
    grouped: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in positions.items():
        grouped.setdefault(topic, {})[partition] = offset
    return grouped
