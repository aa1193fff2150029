"""Padding, because the length of a box tells how long its content is, and a length may be as good as a name.

The form is that of ISO/IEC 7816-4: the byte 0x80, then zeros. libsodium's ``sodium_unpad`` reads it.
"""

from __future__ import annotations

_MARK = b"\x80"


def padded(message: bytes, size: int) -> bytes:
    """The message, made ``size`` bytes long. Raises ValueError if no mark fits behind it."""
    if len(message) >= size:
        raise ValueError("the padding needs at least one byte")
    return message + _MARK + b"\x00" * (size - len(message) - 1)


def unpadded(padded_message: bytes) -> bytes:
    """What ``padded`` was given. Raises ValueError if there is no padding."""
    message, mark, rest = padded_message.rpartition(_MARK)
    if not mark or rest.strip(b"\x00"):
        raise ValueError("there is no padding")
    return message


def block(length: int, size: int) -> int:
    """The next multiple of ``size`` that has room for the message and its mark.

    >>> block(63, 64), block(64, 64)
    (64, 128)
    """
    return (length // size + 1) * size


def bucket(length: int, least: int, most: int) -> int:
    """The next power of two that has room for the message and its mark, from ``least`` to ``most`` (which need be no power of two). Of all
    messages so many lengths remain: log2(most / least), rounded up, and one. ``length`` is below ``most``.

    >>> [bucket(length, 512, 5001) for length in (0, 511, 512, 3000, 4096, 5000)]
    [512, 512, 1024, 4096, 5001, 5001]
    """
    return min(max(least, 1 << length.bit_length()), most)
