"""Padding: it comes off again, and few lengths remain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.padding import block, bucket, padded, unpadded

LEAST, MOST = 512, 262_145


@given(st.binary(max_size=300), st.integers(1, 300))
def test_it_comes_off_again(message: bytes, more: int) -> None:
    found = padded(message, len(message) + more)
    assert len(found) == len(message) + more
    assert unpadded(found) == message


def test_there_is_room_for_the_mark() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        padded(b"abc", 3)


@pytest.mark.parametrize("message", [b"", b"\x00", b"a", b"\x80\x00\x01"])
def test_what_has_no_padding(message: bytes) -> None:
    with pytest.raises(ValueError, match="no padding"):
        unpadded(message)


@given(st.integers(0, MOST - 1))
def test_a_bucket_has_room_and_wastes_less_than_what_it_holds(length: int) -> None:
    size = bucket(length, LEAST, MOST)
    assert length < size <= max(LEAST, 2 * length)
    assert size <= MOST


def test_of_all_lengths_eleven_remain() -> None:
    sizes = {bucket(length, LEAST, MOST) for length in range(MOST)}
    assert sizes == {*(512 << power for power in range(10)), MOST}


@given(st.integers(0, 1000))
def test_a_block_is_the_next_multiple(length: int) -> None:
    assert block(length, 64) % 64 == 0 and length < block(length, 64) <= length + 64
