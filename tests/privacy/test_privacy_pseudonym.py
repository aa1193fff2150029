"""Pseudonyms and hashes: keyed, stable, apart from each other, and the same from PyNaCl and hashlib."""

from __future__ import annotations

import base64
import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_generichash_blake2b_salt_personal

from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer

KEY = PseudonymKey("k1", bytes(range(32)))
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
users = texts.filter(lambda text: "\x00" not in text)  # which normalised user ids never hold


def test_known_values() -> None:
    """Changing one of these would part every shopper from their history."""
    hashes = Pseudonymizer(KEY)
    assert hashes.pseudonym("user-1") == "k1.xle5reiz2bk6uteryuvoojgliyqn6kus"
    assert hashes.event_id("user-1", "e-1") == "34b34dabf808ba73fd285a08ac33c25a"
    assert hashes.session("user-1", "e-1") == "e925db74fd835effbc1206050e55d65f"
    assert hashes.position_id("behaviour.raw", 3, 14) == "6fbc8b5c0a77f3c23d6cc7e8e0d97315"


@given(users)
def test_pseudonym_is_the_keyed_hash_by_hashlib_too(user: str) -> None:
    digest = hashlib.blake2b(user.encode(), digest_size=20, key=KEY.secret, person=b"vs-user").digest()
    pseudonym = Pseudonymizer(KEY).pseudonym(user)
    assert pseudonym == f"k1.{base64.b32encode(digest).decode().lower()}"
    assert re.fullmatch(r"k1\.[a-z2-7]{32}", pseudonym)


@given(users, texts)
def test_event_ids_and_sessions_are_the_keyed_hash_by_pynacl_too(user: str, own: str) -> None:
    hashes = Pseudonymizer(KEY)
    message = user.encode() + b"\x00" + own.encode()
    for person, found in ((b"vs-event", hashes.event_id(user, own)), (b"vs-session", hashes.session(user, own))):
        assert found == crypto_generichash_blake2b_salt_personal(message, digest_size=16, key=KEY.secret, person=person).hex()


@given(users, texts, users, texts)
def test_different_things_have_different_hashes(user: str, own: str, other_user: str, other_own: str) -> None:
    hashes = Pseudonymizer(KEY)
    if user != other_user:
        assert hashes.pseudonym(user) != hashes.pseudonym(other_user)
    if (user, own) != (other_user, other_own):
        assert hashes.event_id(user, own) != hashes.event_id(other_user, other_own)
    assert len({hashes.event_id(user, own), hashes.session(user, own), hashes.position_id(user, 0, 0)}) == 3


@given(users)
def test_another_key_gives_other_hashes(user: str) -> None:
    one, two = Pseudonymizer(KEY), Pseudonymizer(PseudonymKey("k1", bytes(32)))
    assert one.pseudonym(user) != two.pseudonym(user)
    assert one.event_id(user, "e") != two.event_id(user, "e")


def test_hashes_do_not_run_into_each_other() -> None:
    hashes = Pseudonymizer(KEY)
    first = hashes.event_id("u", "1")
    hashes.event_id("u", "2")
    assert hashes.event_id("u", "1") == first


def test_positions_are_told_apart() -> None:
    hashes = Pseudonymizer(KEY)
    found = {hashes.position_id(topic, partition, offset) for topic in ("a", "a/1") for partition in (0, 1, 11) for offset in (0, 1, 10)}
    assert len(found) == 18


def test_the_key_does_not_show() -> None:
    assert KEY.secret.hex() not in repr(vars(Pseudonymizer(KEY))).replace("\\x", "")
