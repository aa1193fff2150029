"""Output positions survive the commit's metadata, and are never told too late."""

from __future__ import annotations

import base64
import doctest
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import positions as module
from streams.engine.positions import MAX_METADATA_BYTES, CommitNote, decode_note, encode_note

names = st.builds("{}{}".format, st.sampled_from("az"), st.text("abz.-", max_size=20))


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(
    st.dictionaries(st.tuples(names, st.integers(0, 255)), st.integers(0, 2**40), max_size=40),
    st.integers(0, 2**62),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(positions: dict[tuple[str, int], int], base: int, incarnation: int) -> None:
    text = encode_note(CommitNote(positions, base, incarnation))
    assert len(text) <= MAX_METADATA_BYTES
    assert decode_note(text) == CommitNote(positions, base, incarnation)


@given(st.integers(1, 2000), st.integers(), st.integers(1, 2**45))
def test_any_number_of_partitions_fits_and_no_position_is_too_late(count: int, seed: int, most: int) -> None:
    rng = Random(seed)
    positions = {(topic, p): rng.randrange(most) for topic in ("behaviour.clean", "behaviour.dead-letter") for p in range(count)}
    text = encode_note(CommitNote(positions))
    assert len(text) <= MAX_METADATA_BYTES
    note = decode_note(text)
    assert note is not None
    assert note.positions.keys() == positions.keys()
    assert all(note.positions[where] <= position for where, position in positions.items())
    if count <= 256 and most <= 10**11:
        assert note.positions == positions


@pytest.mark.parametrize("metadata", [None, "", "another program's", "p1:", "p1:!!!", "p1:abc", "p2:", "p2:!!!", "p2:abc"])
def test_foreign_metadata_is_none(metadata: str | None) -> None:
    assert decode_note(metadata) is None


def test_what_version_0_1_0_wrote_is_read() -> None:
    written = "p1:" + base64.b85encode(zlib.compress(b"a 0=7 2=1\nb 1=ff", 6)).decode()
    assert decode_note(written) == CommitNote({("a", 0): 7, ("a", 2): 1, ("b", 1): 255})
