"""One link: deterministic, canonical, domain-separated, and what may not be in it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.audit.chain import NOTHING_BEFORE, ChainId, Head, is_link_of, link_hash, next_link
from streams.privacy.signing import sign
from streams.serde.codec import local_codecs
from streams.topics import PRIVACY_AUDIT

KEY = SigningKey(b"k" * 32)
CHAIN = ChainId("profile", "behaviour.clean/3@17")
CODEC = local_codecs().for_topic(PRIVACY_AUDIT)


def link(head: Head = Head(), **changes: Any) -> Any:  # noqa: B008 - a NamedTuple
    given_ = {"action": "erased", "subject": "k1.abc", "details": {"request_id": "r"}, "at_ms": 5} | changes
    return next_link(head, CHAIN, KEY, **given_)


def test_a_chain_is_made_of_hashes() -> None:
    first = link()
    second = link(first.head)
    assert first.record["sequence"] == 0 and first.record["previous_hash"] == NOTHING_BEFORE
    assert second.record["sequence"] == 1 and second.record["previous_hash"] == link_hash(first.record)
    assert second.head == Head(1, link_hash(second.record))
    assert link(first.head) == second, "the same again, to the byte"


def test_the_canonical_form_can_be_made_by_anybody() -> None:
    """With JSON of the standard library alone, as docs/audit.md says."""
    record = link(details={"b": "ü\n", "a": "1"}).record
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in record.items()}
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert link_hash(record) == sha256(text.encode()).digest()
    del shown["signature"]
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert record["signature"] == KEY.sign(b"veilstream audit link\n" + text.encode()).signature


def test_a_field_with_its_default_is_not_signed_along() -> None:
    bare = next_link(Head(), ChainId("profile", ""), KEY, action="started", at_ms=1).record
    assert is_link_of({name: value for name, value in bare.items() if name != "chain"}, KEY.verify_key)


@given(st.dictionaries(st.text("abc ", min_size=1, max_size=5), st.text(max_size=20), max_size=4), st.integers(0, 2**62))
def test_what_comes_back_from_the_topic_is_what_was_signed(details: dict[str, str], at_ms: int) -> None:
    made = link(details=details, at_ms=at_ms)
    read = CODEC.decode(CODEC.encode(made.record))
    assert is_link_of(read, KEY.verify_key) and link_hash(read) == made.head.hash


@pytest.mark.parametrize(
    "name", ["stage", "chain", "sequence", "action", "subject", "details", "occurred_at", "previous_hash", "signature"]
)
def test_every_field_is_signed(name: str) -> None:
    record: dict[str, Any] = dict(link().record)
    value = record[name]
    record[name] = value + 1 if isinstance(value, int) else {"x": "y"} if isinstance(value, dict) else value[:-1]
    assert not is_link_of(record, KEY.verify_key)
    assert link_hash(record) != link().head.hash


def test_no_other_signature_of_the_key_passes() -> None:
    record: dict[str, Any] = dict(link().record)
    for subject in ("dead letter", "sealed id", "model manifest", "model announcement"):
        record["signature"] = b""
        shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in record.items() if name != "signature"}
        text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        record["signature"] = sign(subject, text.encode(), KEY)  # type: ignore[arg-type]
        assert not is_link_of(record, KEY.verify_key)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "alice@example.org"},
        {"subject": "Alice B"},
        {"subject": ""},
        {"action": "Erased"},
        {"action": ""},
        {"details": {"ü": "x"}},
        {"details": {"x": "y" * 1001}},
        {"details": {"x": "\ud800"}},
        {"details": {str(number): "" for number in range(2001)}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_what_is_no_link(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"audit|subject"):
        link(**changes)
