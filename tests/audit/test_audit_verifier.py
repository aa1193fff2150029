"""Whatever somebody does to the topic who has no stage's key is found, and named; so is much of what who has one does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

import schemas
from streams.audit.anchors import heads_in_details
from streams.audit.chain import NOTHING_BEFORE, ChainId, Head, link_hash, next_link
from streams.audit.verifier import Wrong
from streams.engine.records import MemoryRecord
from streams.privacy.signing import sign
from streams.serde.local_registry import local_id
from tests.support.audit_chains import CODEC, KEYS, NOW, PUBLIC, Writer, records_of, verified

CHAINS = (("profile", "behaviour.clean/0@0"), ("profile", "behaviour.clean/1@9"), ("feedback", "behaviour.clean/0@0"))


@st.composite
def written(draw: st.DrawFn) -> Writer:
    """Two to twenty links in up to three chains, as they may lie in one partition."""
    writer = Writer()
    for place in draw(st.lists(st.integers(0, 2), min_size=2, max_size=20)):
        writer.append(*CHAINS[place])
    return writer


def where(link: dict[str, Any]) -> tuple[ChainId, int]:
    return ChainId(link["stage"], link["chain"]), link["sequence"]


@given(written())
def test_what_was_written_is_right(writer: Writer) -> None:
    verifier, findings = verified(writer.records, writer.anchors())
    assert findings == [] and verifier.is_right
    assert verifier.heads() == writer.heads and verifier.links == len(writer.values)


@given(written(), st.data())
def test_a_removed_link(writer: Writer, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(writer.values) - 1))
    gone = CODEC.decode(writer.values[place][1])
    _, findings = verified(records_of(writer.values[:place] + writer.values[place + 1 :]), writer.anchors())
    assert [(found.wrong in (Wrong.REMOVED, Wrong.CUT_OFF), found.chain, found.sequence) for found in findings] == [(True, *where(gone))]


@given(written(), st.data())
def test_a_removed_record_leaves_a_gap_of_offsets(writer: Writer, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(writer.values) - 2))
    records = [record for record in writer.records if record.offset != place]
    _, findings = verified(records)
    assert findings[0].wrong is Wrong.REMOVED and f"offsets {place} to {place}" in findings[0].detail


@given(written(), st.data())
def test_two_links_change_places(writer: Writer, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.sets(st.integers(0, len(writer.values) - 1), min_size=2, max_size=2)))
    values = list(writer.values)
    values[first], values[second] = values[second], values[first]
    _, findings = verified(records_of(values), writer.anchors())
    moved = [where(CODEC.decode(writer.values[place][1])) for place in range(first, second + 1)]
    chains = [chain for chain, _ in moved]
    if chains[0] in chains[1:] or chains[-1] in chains[:-1]:
        assert findings and {found.wrong for found in findings} == {Wrong.REORDERED}
        assert {(found.chain, found.sequence) for found in findings} <= set(moved)
    else:
        assert findings == [], "the order between chains says nothing"


@given(written(), st.data())
def test_any_flipped_bit(writer: Writer, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(writer.values) - 1))
    key, value = writer.values[place]
    bits = bytearray(value)
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    bits[bit // 8] ^= 1 << bit % 8
    values = [*writer.values[:place], (key, bytes(bits)), *writer.values[place + 1 :]]
    verifier, findings = verified(records_of(values), writer.anchors())
    named = [found for found in findings if (found.partition, found.offset) == (0, place)]
    assert named and named[0].wrong in (Wrong.ALTERED, Wrong.UNREADABLE, Wrong.NOT_VERIFIED)
    assert verifier.links == len(writer.values) - 1


@given(written(), st.data())
def test_a_copied_link(writer: Writer, data: st.DataObject) -> None:
    copied = data.draw(st.integers(0, len(writer.values) - 1))
    place = data.draw(st.integers(copied + 1, len(writer.values)))
    values = [*writer.values[:place], writer.values[copied], *writer.values[place:]]
    _, findings = verified(records_of(values), writer.anchors())
    link = CODEC.decode(writer.values[copied][1])
    assert [(found.wrong, found.offset, found.chain, found.sequence) for found in findings] == [(Wrong.DOUBLED, place, *where(link))]


@given(written(), st.data())
def test_an_end_that_is_cut_off(writer: Writer, data: st.DataObject) -> None:
    """Found by the anchors alone: what is left is right."""
    left = data.draw(st.integers(0, len(writer.values) - 1))
    assert verified(records_of(writer.values[:left]))[1] == []
    _, findings = verified(records_of(writer.values[:left]), writer.anchors())
    short = {where(CODEC.decode(value))[0] for _, value in writer.values[left:]}
    assert {found.wrong for found in findings} == {Wrong.CUT_OFF} and {found.chain for found in findings} == short


def unsigned(link: dict[str, Any]) -> dict[str, Any]:
    return link | {"signature": b""}


def signed_by_another(link: dict[str, Any]) -> dict[str, Any]:
    made = next_link(
        Head(link["sequence"] - 1, link["previous_hash"]),
        ChainId(link["stage"], link["chain"]),
        SigningKey.generate(),
        action="erased",
        at_ms=1,
    )
    return dict(made.record)


def of_another_stage(link: dict[str, Any]) -> dict[str, Any]:
    """Who has the key of feedback writes as profile."""
    made = next_link(
        Head(link["sequence"] - 1, link["previous_hash"]), ChainId("profile", link["chain"]), KEYS["feedback"], action="erased", at_ms=1
    )
    return dict(made.record)


def with_a_letters_signature(link: dict[str, Any]) -> dict[str, Any]:
    return link | {"signature": sign("dead letter", b"anything", KEYS["profile"])}


def moved_to_another_chain(link: dict[str, Any]) -> dict[str, Any]:
    return link | {"chain": "behaviour.clean/7@0"}


def renumbered(link: dict[str, Any]) -> dict[str, Any]:
    return link | {"sequence": link["sequence"] + 1}


def of_nobody(link: dict[str, Any]) -> dict[str, Any]:
    return link | {"stage": "auditor"}


FORGERIES = (unsigned, signed_by_another, of_another_stage, with_a_letters_signature, moved_to_another_chain, renumbered, of_nobody)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
@given(writer=written(), data=st.data())
def test_no_forged_link_is_accepted(forge: Callable[[dict[str, Any]], dict[str, Any]], writer: Writer, data: st.DataObject) -> None:
    """Put anywhere, in place of a link or beside it, by somebody who may write to the topic and has everything but the stage's key."""
    link = writer.append("profile", CHAINS[0][1])
    forged = forge(link)
    beside = data.draw(st.booleans())
    values = list(writer.values) if beside else writer.values[:-1]
    place = data.draw(st.integers(0, len(values)))
    values.insert(place, (forged["stage"].encode(), CODEC.encode(forged)))
    accepted: list[Any] = []
    verifier, findings = verified(records_of(values), writer.anchors())
    accepted = [found for found in findings if found.offset == place and found.wrong in (Wrong.ALTERED, Wrong.NOT_VERIFIED)]
    assert len(accepted) == 1 and verifier.links == len(values) - 1


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"profile", None, ()),
        (b"profile", b"", ()),
        (b"profile", b"\x00\x00\x00\x00\x01rubbish", ()),
        (b"profile", b'{"stage": "profile", "sequence": 0}', (("content-type", b"application/json"),)),
        (None, b"before there were links", ()),
    ],
)
def test_records_that_no_stage_writes(key: bytes | None, value: bytes | None, headers: Any) -> None:
    """Tombstones, rubbish, and forms that were never the topic's."""
    writer = Writer()
    writer.append(*CHAINS[0])
    record = MemoryRecord("privacy.audit", 0, 1, NOW, key, value, headers)
    verifier, findings = verified([*writer.records, record])
    assert [(found.wrong, found.offset) for found in findings] == [(Wrong.UNREADABLE, 1)] and verifier.links == 1


def test_a_link_in_the_format_before_chains_had_names() -> None:
    """The released schema, which anybody may still write with: the link loses its chain, and so its signature."""
    writer = Writer()
    link = writer.append(*CHAINS[0])
    text = schemas.released("privacy.audit")[0]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(text)), {n: v for n, v in link.items() if n != "chain"})
    value = b"\0" + local_id(text).to_bytes(4, "big") + body.getvalue()
    assert CODEC.decode(value)["chain"] == ""
    verifier, findings = verified(records_of([(b"profile", value), *writer.values]))
    assert [(found.wrong, found.offset) for found in findings] == [(Wrong.ALTERED, 0)] and verifier.links == 1


def test_a_record_under_another_key() -> None:
    writer = Writer()
    writer.append(*CHAINS[0])
    _, findings = verified(records_of([(b"feedback", writer.values[0][1])]))
    assert [found.wrong for found in findings] == [Wrong.ALTERED] and "key" in findings[0].detail


def test_without_the_public_key_nothing_is_taken_for_right() -> None:
    writer = Writer()
    writer.append(*CHAINS[0])
    verifier, findings = verified(writer.records, keys={"ingest": PUBLIC["ingest"]})
    assert [found.wrong for found in findings] == [Wrong.NOT_VERIFIED] and "--keys" in findings[0].detail and not verifier.is_right


def test_a_replaced_key_is_still_good_for_its_links() -> None:
    writer = Writer()
    writer.append(*CHAINS[0])
    new = SigningKey.generate().verify_key
    assert verified(writer.records, keys={"profile": [new, *PUBLIC["profile"]]})[1] == []
    assert verified(writer.records, keys={"profile": [new]})[0].counts == {Wrong.ALTERED: 1}


def fork(writer: Writer, sequence: int) -> tuple[bytes, bytes]:
    """Another link of a number, by who has the key."""
    before = CODEC.decode(writer.values[sequence - 1][1]) if sequence else None
    head = Head(sequence - 1, link_hash(before)) if before is not None else Head()
    made = next_link(head, ChainId(*CHAINS[0]), KEYS["profile"], action="kept", at_ms=1)
    return b"profile", CODEC.encode(made.record)


def test_who_has_the_key_makes_two_links_of_one_number() -> None:
    writer = Writer()
    for _ in range(4):
        writer.append(*CHAINS[0])
    _, findings = verified(records_of([*writer.values, fork(writer, 1)]))
    assert [(found.wrong, found.sequence, found.offset) for found in findings] == [(Wrong.FORKED, 1, 4)]
    _, findings = verified(records_of([writer.values[0], fork(writer, 1), *writer.values[2:]]))
    assert [(found.wrong, found.sequence, found.offset) for found in findings] == [(Wrong.FORKED, 2, 2)]


def test_who_has_the_key_writes_a_chain_anew() -> None:
    """Nothing of the topic shows it but what another chain knows."""
    writer, anew = Writer(), Writer()
    for _ in range(3):
        writer.append(*CHAINS[0])
        anew.append(*CHAINS[0], subject="k1.other")
    head = heads_in_details(writer.heads.items())
    for one in (writer, anew):
        link = next_link(Head(), ChainId("operators", "run/1"), KEYS["operators"], action="started", details=head, at_ms=NOW)
        one.values.append((b"operators", CODEC.encode(link.record)))
    assert verified(writer.records)[1] == []
    _, findings = verified(anew.records)
    assert [(found.wrong, found.sequence, found.offset) for found in findings] == [(Wrong.REWRITTEN, 2, 2)]
    assert "the link at 0/3 (operators run/1)" in findings[0].detail


def test_another_chain_knows_the_end_that_was_cut_off() -> None:
    writer = Writer()
    for _ in range(3):
        writer.append(*CHAINS[0])
    details = heads_in_details(writer.heads.items())
    link = next_link(Head(), ChainId("trainer", "run/1"), KEYS["trainer"], action="started", details=details, at_ms=NOW)
    anchor = (b"trainer", CODEC.encode(link.record))
    _, findings = verified(records_of([*writer.values[:1], anchor]))
    assert [(found.wrong, str(found.chain), found.sequence) for found in findings] == [(Wrong.CUT_OFF, "profile behaviour.clean/0@0", 1)]
    _, findings = verified(records_of([anchor]))
    assert [(found.wrong, found.sequence) for found in findings] == [(Wrong.CUT_OFF, 0)] and "the whole chain is gone" in findings[0].detail


def test_only_the_first_link_of_a_signed_run_is_an_anchor() -> None:
    details = heads_in_details([(ChainId("ingest", "x"), Head(7, NOTHING_BEFORE))])
    for key, chain in ((KEYS["operators"], "y"), (SigningKey.generate(), "run/1")):
        link = next_link(Head(), ChainId("operators", chain), key, action="started", details=details, at_ms=NOW)
        verifier, _ = verified(records_of([(b"operators", CODEC.encode(link.record))]))
        assert Wrong.CUT_OFF not in verifier.counts


def test_a_chain_goes_on_in_another_partition() -> None:
    """As it does when the topic gets more partitions, whichever is read first."""
    writer = Writer()
    for _ in range(4):
        writer.append(*CHAINS[0])
    old, new = records_of(writer.values[:2], 1), records_of(writer.values[2:], 0)
    assert verified([*old, *new])[1] == []
    assert verified([*new, *old])[1] == []


def test_many_missing_links_are_one_finding_and_little_memory() -> None:
    writer = Writer()
    for _ in range(3000):
        writer.append(*CHAINS[0])
    _, findings = verified(records_of([*writer.values[:10], *writer.values[20:]]))
    assert [(found.wrong, found.sequence, found.offset) for found in findings] == [(Wrong.REMOVED, 10, 10)]
    assert "links 10 to 19 are not there" in findings[0].detail
    late = [*writer.values[:10], *writer.values[11:], writer.values[10]]
    assert [(found.wrong, found.sequence) for found in verified(records_of(late))[1]] == [(Wrong.REMOVED, 10), (Wrong.REORDERED, 10)]
    _, findings = verified(records_of([*writer.values, writer.values[5]]))
    assert [(found.wrong, found.sequence) for found in findings] == [(Wrong.DOUBLED, 5)] and "long before" in findings[0].detail


def test_a_lost_state_begins_another_chain() -> None:
    writer = Writer()
    writer.append("profile", "behaviour.clean/0@0")
    writer.append("profile", "behaviour.clean/0@900")
    verifier, findings = verified(writer.records)
    assert findings == [] and verifier.begun_again() == ["profile behaviour.clean/0"]
