"""Identities: one a user, sealed once while remembered."""

from __future__ import annotations

import pytest
from nacl.public import PrivateKey

from streams.errors import Reason, RecordError
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer
from streams.stages.ingest.identities import Identities
from tests.support.stage_keys import SIGNING_KEY, opened_id

PRIVATE = PrivateKey.generate()


def identities(kept: int = 100) -> Identities:
    return Identities(Pseudonymizer(PseudonymKey("k1", b"k" * 32)), IdSealer(PRIVATE.public_key, SIGNING_KEY), kept)


def test_spellings_of_one_user_are_one() -> None:
    known = identities()
    one, two = known.of("zo\u00eb"), known.of("  zoe\u0308 ")
    assert one.user_id == two.user_id == "zo\u00eb"
    assert one.pseudonym == two.pseudonym == one.key.decode()
    assert opened_id(PRIVATE, one._asdict()) == opened_id(PRIVATE, two._asdict()) == "zo\u00eb"


def test_sealed_once_while_remembered() -> None:
    known = identities(kept=2)
    first = known.of("a")
    known.of("b")
    assert known.of("a") is first
    known.of("c")  # forgets b, which came last longest ago
    assert known.of("a") is first
    known.of("d")
    known.of("e")
    again = known.of("a")
    assert again.sealed_id != first.sealed_id
    assert again.pseudonym == first.pseudonym


def test_bad_users_are_refused_every_time() -> None:
    known = identities()
    for _ in range(2):
        with pytest.raises(RecordError) as raised:
            known.of("\x00")
        assert raised.value.reason is Reason.BAD_USER
