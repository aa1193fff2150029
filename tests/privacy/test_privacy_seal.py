"""Sealed boxes: the right key opens them, no other does, and their length tells nothing. Sealed ids: ingest alone makes them, for one
pseudonym."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

from streams.errors import ConfigurationError
from streams.privacy.padding import block, padded
from streams.privacy.seal import IdSealer, Sealer, open_sealed, open_sealed_id
from streams.privacy.signing import sign

PRIVATE = PrivateKey(bytes(range(32)))
INGEST = SigningKey(bytes(range(32, 64)))
SEALER = IdSealer(PRIVATE.public_key, INGEST)
ANNA = "k1.anna"
ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)
pseudonyms = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def opened(sealed: bytes, pseudonym: str = ANNA, *, key: PrivateKey = PRIVATE, accept_unsigned: bool = False) -> str:
    return open_sealed_id(key, sealed, pseudonym=pseudonym, verify_key=INGEST.verify_key, accept_unsigned=accept_unsigned)


def old(user: str) -> bytes:
    """As it was made before ids were signed, and as anybody can make it who has subscriber.pub."""
    message = user.encode()
    return SealedBox(PRIVATE.public_key).encrypt(padded(message, block(len(message), 64)))


@given(ids, pseudonyms)
def test_ids_come_back(user: str, pseudonym: str) -> None:
    assert opened(SEALER.seal(user, pseudonym), pseudonym) == user


@given(ids)
def test_length_says_nothing_but_the_block(user: str) -> None:
    sealed = SEALER.seal(user, ANNA)
    assert (len(sealed) - 1 - 48 - 64) % 64 == 0 and sealed[0] == 1


def test_short_ids_look_alike() -> None:
    assert {len(SEALER.seal("x" * length, ANNA)) for length in range(64)} == {177}


@pytest.mark.parametrize("user", ["", "\x80", "\u0080", "ü" * 31, "x" * 63, "x" * 64, "\x00" * 64, "a\x80\x00"])
def test_padding_is_unambiguous(user: str) -> None:
    assert opened(SEALER.seal(user, ANNA)) == user


def test_the_same_id_never_looks_the_same() -> None:
    assert SEALER.seal("anna", ANNA)[:113] != SEALER.seal("anna", ANNA)[:113]


def test_who_has_only_the_public_key_makes_no_id() -> None:
    """The forgery that was found: an id of any shopper's, put on any record."""
    forged = old("victim")
    with pytest.raises(ConfigurationError, match=r"has no signature: .*docs/clients\.md#sealed-ids"):
        opened(forged)
    stranger = IdSealer(PRIVATE.public_key, SigningKey.generate()).seal("victim", ANNA)
    for signature in (stranger[-64:], SEALER.seal("anna", ANNA)[-64:], b"\x00" * 64):
        with pytest.raises(ConfigurationError, match="not made by ingest for this pseudonym"):
            opened(b"\x01" + forged + signature, accept_unsigned=True)


@given(pseudonyms, pseudonyms)
def test_an_id_belongs_to_the_records_of_one_pseudonym(one: str, other: str) -> None:
    sealed = SEALER.seal("anna", one)
    if one != other:
        with pytest.raises(ConfigurationError, match="for this pseudonym"):
            opened(sealed, other, accept_unsigned=True)


def test_what_is_signed_of_the_pseudonym_is_no_part_of_the_box() -> None:
    """Neither is the end of one pseudonym and the beginning of the box another pseudonym."""
    sealed = SEALER.seal("anna", "k1.anna")
    moved = b"\x01" + sealed[1:-64]
    for pseudonym, box in (("k1.ann", b"a" + moved), ("k1.anna\x01", moved[1:]), ("x" * 256, moved), ("\ud800", moved)):
        with pytest.raises(ConfigurationError):
            opened(box + sealed[-64:], pseudonym, accept_unsigned=True)


def test_a_signature_of_ingest_over_something_else_is_none() -> None:
    box = b"\x01" + old("victim")
    letters = sign("dead letter", bytes((len(ANNA),)) + ANNA.encode() + box, INGEST)
    with pytest.raises(ConfigurationError, match="not made by ingest"):
        opened(box + letters)


def test_ids_from_before_they_were_signed_are_opened_where_that_is_said() -> None:
    for user in ("anna", "x" * 63, "x" * 64, "x" * 200):
        assert opened(old(user), accept_unsigned=True) == user
        with pytest.raises(ConfigurationError, match="has no signature"):
            opened(old(user))


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"x" * 47, b"\x01" * 49, b"x" * 113, b"x" * 177, b"x" * 200])
def test_what_is_no_sealed_id(sealed: bytes) -> None:
    for accept in (False, True):
        with pytest.raises(ConfigurationError):
            opened(sealed, accept_unsigned=accept)


@pytest.mark.parametrize("sealed", [b"", b"x" * 48, b"x" * 200])
def test_rubbish_does_not_open(sealed: bytes) -> None:
    with pytest.raises(ConfigurationError, match="another key, or is damaged"):
        open_sealed(PRIVATE, sealed)


def test_another_key_does_not_open() -> None:
    with pytest.raises(ConfigurationError, match="another key"):
        opened(SEALER.seal("anna", ANNA), key=PrivateKey.generate())


@given(st.integers(0, 176), st.integers(1, 255))
def test_any_change_is_noticed(place: int, change: int) -> None:
    sealed = bytearray(SEALER.seal("anna", ANNA))
    sealed[place] ^= change
    with pytest.raises(ConfigurationError):
        opened(bytes(sealed), accept_unsigned=True)


@pytest.mark.parametrize("content", [b"no padding", b"\xff\x80", b"a\x80\x00b"])
def test_a_box_without_an_id(content: bytes) -> None:
    content += b"\x00" * (-len(content) % 64) if content.endswith(b"\x80") else b"b" * (-len(content) % 64)
    with pytest.raises(ConfigurationError, match="holds no"):
        opened(Sealer(PRIVATE.public_key).seal(content), accept_unsigned=True)
