"""Output positions survive the commit's metadata."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import positions as module
from streams.engine.positions import MAX_METADATA_BYTES, decode_positions, encode_positions
from streams.errors import ConfigurationError

names = st.from_regex(r"[a-z][a-z.\-]{0,20}", fullmatch=True)


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(st.dictionaries(st.tuples(names, st.integers(0, 255)), st.integers(0, 2**40), max_size=40))
def test_round_trip(positions: dict[tuple[str, int], int]) -> None:
    text = encode_positions(positions)
    assert len(text) <= MAX_METADATA_BYTES
    assert decode_positions(text) == positions


@pytest.mark.parametrize("metadata", [None, "", "another program's", "p1:", "p1:!!!", "p1:abc"])
def test_foreign_metadata_is_none(metadata: str | None) -> None:
    assert decode_positions(metadata) is None


def test_256_partitions_of_two_topics_fit() -> None:
    positions = {(topic, p): 10**9 + p * 7919 for topic in ("behaviour.clean", "behaviour.dead-letter") for p in range(256)}
    assert len(encode_positions(positions)) <= MAX_METADATA_BYTES


def test_too_many_partitions_are_named() -> None:
    with pytest.raises(ConfigurationError, match="fewer partitions"):
        encode_positions({("t", p): (p * 2654435761) % 2**40 for p in range(2000)})
