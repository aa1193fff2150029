"""Merkle trees over the links of a chain, as RFC 9162 (section 2.1) builds them: SHA-256, leaves and nodes apart by their first byte."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()
"""The root over nothing."""


def leaf(data: bytes) -> bytes:
    """The hash of a leaf: 32 bytes."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves: 32 bytes."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        level = [_node(*level[n : n + 2]) if n + 1 < len(level) else level[n] for n in range(0, len(level), 2)]
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """What is needed besides a leaf's hash to compute the root, from the leaf up. Raises IndexError for one that is not there."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    level, found = list(leaves), []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            found.append(level[beside])
        level = [_node(*level[n : n + 2]) if n + 1 < len(level) else level[n] for n in range(0, len(level), 2)]
        index //= 2
    return found


def root_of(leaf_hash: bytes, index: int, size: int, beside: Sequence[bytes]) -> bytes | None:
    """The root that a leaf, its place in a tree of ``size`` leaves, and its path lead to; None where the path does not fit the place."""
    if not 0 <= index < size:
        return None
    left, found, last = list(beside), leaf_hash, size - 1
    while last > 0:
        if index % 2 or index < last:
            if not left:
                return None
            other = left.pop(0)
            found = _node(other, found) if index % 2 else _node(found, other)
        index, last = index // 2, last // 2
    return found if not left else None


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
