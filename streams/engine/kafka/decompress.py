"""Decompresses what a producer sent, and stops where it grows beyond a limit: some kilobytes may stand for gigabytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cramjam

from streams.errors import TooLargeError

_XERIAL = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
"""Snappy in blocks, each behind its length, as Kafka's Java clients write it (https://github.com/xerial/snappy-java)."""
_SMALLEST = 65_536
_USUAL_RATIO = 8
_FULL = "failed to write whole buffer"


class _NoRoomError(Exception):
    """The limit is reached."""


def decompress(codec: int, data: bytes, most: int) -> bytes:
    """The data of Kafka's codec 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd), at most ``most`` bytes.

    Not much more memory than that is ever used. Raises TooLargeError beyond it, and ValueError for another codec or damaged data.
    """
    read = _CODECS.get(codec)
    if read is None:
        raise ValueError(f"compression {codec} is not known")
    try:
        return read(data, most)
    except _NoRoomError:
        raise TooLargeError(f"it unpacks to more than {most} bytes") from None
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise ValueError(f"the compressed data is damaged ({type(error).__name__})") from None


def _gzip(data: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    while data:
        member = zlib.decompressobj(wbits=31)
        parts.append(member.decompress(data, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise _NoRoomError
        if not member.eof:
            raise ValueError("the compressed data is cut off")
        data = member.unused_data
    return b"".join(parts)


def _snappy(data: bytes, most: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _snappy_block(data, most)
    parts: list[bytes] = []
    at, left = len(_XERIAL), most
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        if length < 0 or at + length > len(data):
            raise ValueError("the compressed data is cut off")
        parts.append(_snappy_block(data[at : at + length], left))
        left -= len(parts[-1])
        at += length
    return b"".join(parts)


def _snappy_block(data: bytes, most: int) -> bytes:
    # A block begins with the length of what it unpacks to, and a decoder refuses one that says something else.
    if cramjam.snappy.decompress_raw_len(data) > most:
        raise _NoRoomError
    return bytes(cramjam.snappy.decompress_raw(data))


def _growing(read_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], bytes]:
    def read(data: bytes, most: int) -> bytes:
        room = min(most, max(_SMALLEST, _USUAL_RATIO * len(data)))
        while True:
            buffer = bytearray(room)
            try:
                return bytes(memoryview(buffer)[: read_into(data, buffer)])
            except cramjam.DecompressionError as error:
                if _FULL not in str(error):
                    raise
                if room == most:
                    raise _NoRoomError from None
                room = min(most, 8 * room)

    return read


_CODECS: dict[int, Callable[[bytes, int], bytes]] = {
    1: _gzip,
    2: _snappy,
    3: _growing(cramjam.lz4.decompress_into),
    4: _growing(cramjam.zstd.decompress_into),
}
