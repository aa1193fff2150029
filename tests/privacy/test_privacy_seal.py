"""Sealed boxes: the right key opens them, no other does, and their length tells nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams.errors import ConfigurationError
from streams.privacy.seal import Sealer, open_sealed, open_sealed_id

PRIVATE = PrivateKey(bytes(range(32)))
SEALER = Sealer(PRIVATE.public_key)
ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)


@given(ids)
def test_ids_come_back(user: str) -> None:
    assert open_sealed_id(PRIVATE, SEALER.seal_id(user)) == user


@given(ids)
def test_length_says_nothing_but_the_block(user: str) -> None:
    assert (len(SEALER.seal_id(user)) - 48) % 64 == 0


def test_short_ids_look_alike() -> None:
    assert len({len(SEALER.seal_id("x" * length)) for length in range(64)}) == 1


@pytest.mark.parametrize("user", ["", "\x80", "\u0080", "ü" * 31, "x" * 63, "x" * 64, "\x00" * 64, "a\x80\x00"])
def test_padding_is_unambiguous(user: str) -> None:
    assert open_sealed_id(PRIVATE, SEALER.seal_id(user)) == user


def test_the_same_id_never_looks_the_same() -> None:
    assert SEALER.seal_id("anna") != SEALER.seal_id("anna")


@pytest.mark.parametrize("sealed", [b"", b"x" * 48, b"x" * 200])
def test_rubbish_does_not_open(sealed: bytes) -> None:
    with pytest.raises(ConfigurationError, match="another key, or is damaged"):
        open_sealed(PRIVATE, sealed)


def test_another_key_does_not_open() -> None:
    with pytest.raises(ConfigurationError, match="another key"):
        open_sealed_id(PrivateKey.generate(), SEALER.seal_id("anna"))


@given(st.integers(0, 111), st.integers(1, 255))
def test_any_change_is_noticed(place: int, change: int) -> None:
    box = bytearray(SEALER.seal_id("anna"))
    box[place] ^= change
    with pytest.raises(ConfigurationError):
        open_sealed_id(PRIVATE, bytes(box))


@pytest.mark.parametrize("content", [b"no padding", b"\xff\x80", b"a\x80\x00b"])
def test_a_box_without_an_id(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="holds no"):
        open_sealed_id(PRIVATE, SEALER.seal(content))
