"""Which source a record is of: its header, its topic, the default; and what recover makes of records that a mapping reads."""

from __future__ import annotations

import pytest

from streams.dead_letters.letters import open_original
from streams.dead_letters.recovery import mended, opened
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError, Reason, RecordError
from streams.serde import local_codecs
from streams.sources.mapping import read_mapping
from streams.sources.source import Source
from streams.sources.sources import Sources
from streams.topics import BEHAVIOUR_RAW, DAY_MS, TOPICS, raw_topics, with_raw
from tests.support.ingest_harness import CODECS, JSON, NOW, RECOVERY, Outcome, make_stage, record, run

OWN = {"user_id": "anna", "event_type": "view", "item_id": "1"}
SEGMENT = {"event": "Product Viewed", "userId": "bert", "properties": {"product_id": "2"}}


def users(found: Outcome) -> list[str]:
    assert found.letters == []
    return found.users


def test_the_header_comes_first_then_the_topic_then_the_default() -> None:
    plain = make_stage()
    assert users(run(plain, [record(OWN)])) == ["anna"]
    assert users(run(plain, [record(SEGMENT, source="segment")])) == ["bert"]
    default = make_stage(default="segment")
    assert users(run(default, [record(SEGMENT, ("x", b""))])) == ["bert"]
    assert users(run(default, [record(SEGMENT)])) == ["bert"]
    assert users(run(default, [record(OWN, *JSON, source="plain")])) == ["anna"]
    by_topic = make_stage(default="shopify-orders", by_topic={"raw.segment": "segment"})
    assert users(run(by_topic, [record(SEGMENT, topic="raw.segment")])) == ["bert"]


def test_a_setting_that_names_no_source() -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_SOURCE names nothing, which is no source; there are"):
        make_stage(default="nothing")


def test_avro_where_a_mapping_is_expected() -> None:
    value = CODECS.for_topic(BEHAVIOUR_RAW).encode(dict.fromkeys(CODECS.for_topic(BEHAVIOUR_RAW).kinds) | OWN)
    (letter,) = run(make_stage(default="segment"), [MemoryRecord(BEHAVIOUR_RAW, 0, 0, NOW, None, value)]).letters
    assert letter["reason"] == Reason.BAD_FRAMING


@pytest.mark.parametrize("value", [b"", b"x" * 300_000, b"{", b"null", b"7", b'"text"', b"[" * 100_000, b"\x00", b"\xff"])
@pytest.mark.parametrize("source", ["segment", "taobao-userbehavior", "ga4-measurement-protocol"])
def test_hostile_values(value: bytes, source: str) -> None:
    found = run(make_stage(), [record(value, source=source)])
    assert (len(found.events), len(found.letters)) == (0, 1)


def test_a_source_in_another_encoding() -> None:
    mapping = read_mapping("source: s\nencoding: gbk\nfields: {type: {value: search}, user: u, query: q}\n", "f")
    (event,) = run(make_stage(mappings=[mapping]), [record('{"u": "甲", "q": "羽绒服"}'.encode("gbk"), source="s")]).events
    assert event["query"] == "羽绒服"
    (letter,) = run(make_stage(mappings=[mapping]), [record(b'{"u": "\xff\xff"}', source="s")]).letters
    assert letter["reason"] == Reason.UNDECODABLE


def test_recover_publishes_a_mapped_record_as_it_was_and_it_stays_the_same_event() -> None:
    wrong = {"event": "Product Viewed", "userId": "bert", "properties": {"product_id": "2", "price": "1,299.00"}}
    (letter,) = run(make_stage(), [record(wrong, ("x-trace", b"1"), source="segment", key=b"bert", offset=5)]).letters
    again = mended(opened(RECOVERY, letter), letter, {}, CODECS, "")
    assert (again.topic, again.key) == (BEHAVIOUR_RAW, b"bert")
    assert open_original(RECOVERY, letter["sealed_original"]).value == again.value
    with pytest.raises(RecordError, match="mend the mapping"):
        mended(opened(RECOVERY, letter), letter, {"price": "1299"}, CODECS, "")
    fields = "{type: {value: view}, user: userId, item: properties.product_id, price: properties.price}"
    text = f"source: segment\nnumber: '1,299.00'\nfields: {fields}"
    stage = make_stage(mappings=[read_mapping(text, "f")])
    headers = tuple((name, value) for name, value in again.headers if value is not None)
    replayed = [MemoryRecord(BEHAVIOUR_RAW, 0, offset, NOW + offset, again.key, again.value, headers) for offset in (9, 10)]
    found = run(stage, replayed)
    assert (len(found.events), found.result.dropped) == (1, {"duplicate": 1})
    assert found.events[0]["occurred_at"] == NOW // 60_000 * 60_000


def test_recover_knows_records_of_a_default_mapping() -> None:
    (letter,) = run(make_stage(default="segment"), [record({"event": "Product Viewed", "properties": {}})]).letters
    with pytest.raises(RecordError):
        mended(opened(RECOVERY, letter), letter, {}, CODECS, "")
    assert mended(opened(RECOVERY, letter), letter, {}, CODECS, "", mapped=[BEHAVIOUR_RAW]).headers


@pytest.mark.parametrize(
    "text", ["raw.web", "=segment", "raw.web=", "a b=segment", "raw.web=segment,raw.web=hm", "behaviour.clean=segment"]
)
def test_topics_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_SOURCE_TOPICS"):
        raw_topics(text)


def test_topics_of_the_shop() -> None:
    assert raw_topics("") == {}
    found = raw_topics(" raw.web = segment,behaviour.raw=ga4-bigquery ")
    assert found == {"raw.web": "segment", "behaviour.raw": "ga4-bigquery"}
    (spec,) = set(with_raw(found)) - set(TOPICS)
    assert (spec.name, spec.raw_identity, spec.retention_ms) == ("raw.web", True, DAY_MS)


def test_records_of_two_topics_do_not_hide_each_other() -> None:
    """Same partition, same offset, same time: two records all the same."""
    stage = make_stage(by_topic={"raw.a": "segment", "raw.b": "segment"})
    first = {**SEGMENT, "messageId": "m"}
    found = [run(stage, [record(first, topic=topic)]) for topic in ("raw.a", "raw.b")]
    assert [len(outcome.events) for outcome in found] == [1, 0]
    assert found[1].result.dropped == {"duplicate": 1}


def test_the_name_of_a_source_is_a_mappings_and_never_a_producers() -> None:
    sources = Sources(
        local_codecs().for_topic(BEHAVIOUR_RAW), {"s": Source(read_mapping("source: s\nfields: {type: t, user: u, item: i}", "f"))}
    )
    assert sources.read(record({}, source="s"))[0] == "s"
    assert sources.read(record({}, source="anna@example.com"))[0] == "none"
    assert sources.read(record({}))[0] == "none"


def test_a_record_of_too_many_lines_in_all() -> None:
    order = {"line_items": [{}] * 100}
    (letter,) = run(make_stage(), [record({"orders": [order] * 60}, source="shopify-orders")]).letters
    assert letter["reason"] == Reason.TOO_LARGE
    (letter,) = run(make_stage(), [record([order] * 60, source="shopify-orders")]).letters
    assert letter["reason"] == Reason.TOO_LARGE
