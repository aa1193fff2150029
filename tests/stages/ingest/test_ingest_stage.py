"""The whole ingest stage over real codecs: what goes in raw comes out clean, dead-lettered, or dropped as a duplicate."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder, open_original
from streams.engine.records import BatchResult, MemoryRecord
from streams.errors import Reason, RecordError
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer, Sealer
from streams.serde import local_codecs
from streams.serde.records import BehaviourEvent
from streams.settings import Settings
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER
from tests.support.stage_keys import SIGNING_KEY, opened_id

NOW = 1_760_000_040_000
CODECS = local_codecs()
SUBSCRIBER, RECOVERY = PrivateKey.generate(), PrivateKey.generate()
RULES = IngestRules.from_settings(Settings(default_region=None, k=1))
FIELDS = tuple(BehaviourEvent.__annotations__)
JSON = (("content-type", b"application/json"),)


class NoState:
    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {}


def letters() -> DeadLetterBuilder:
    return DeadLetterBuilder(
        CODECS.for_topic(DEAD_LETTER), Sealer(RECOVERY.public_key), "ingest", FixedClock(NOW), 262_144, signing_key=SIGNING_KEY
    )


def make(rules: IngestRules = RULES, secret: bytes = b"k" * 32, dead_letters: DeadLetterBuilder | None = None) -> IngestStage:
    clock = FixedClock(NOW)
    return IngestStage(
        codecs=CODECS,
        pseudonymizer=Pseudonymizer(PseudonymKey("k1", secret)),
        sealer=IdSealer(SUBSCRIBER.public_key, SIGNING_KEY),
        dead_letters=dead_letters or letters(),
        rules=rules,
        clock=clock,
    )


def raw(**fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(FIELDS)
    return empty | {"user_id": "anna", "event_type": "view", "item_id": "84029E", "occurred_at": NOW} | fields


def avro(offset: int, timestamp: int = NOW, partition: int = 0, **fields: Any) -> MemoryRecord:
    return MemoryRecord(BEHAVIOUR_RAW, partition, offset, timestamp, None, CODECS.for_topic(BEHAVIOUR_RAW).encode(raw(**fields)))


def from_json(offset: int, value: Any) -> MemoryRecord:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return MemoryRecord(BEHAVIOUR_RAW, 0, offset, NOW, b"key of anna", text, JSON)


def run(stage: IngestStage, records: Iterable[MemoryRecord]) -> BatchResult:
    return asyncio.run(_call(stage, list(records)))


async def _call(stage: IngestStage, records: list[MemoryRecord]) -> BatchResult:
    return await stage(records, NoState())


def values(result: BatchResult, topic: str) -> list[dict[str, Any]]:
    return [CODECS.for_topic(topic).decode(output.value) for output in result.outputs if output.topic == topic]


def clean(record: MemoryRecord, rules: IngestRules = RULES) -> dict[str, Any]:
    result = run(make(rules), [record])
    assert result.rejected == 0, values(result, DEAD_LETTER)
    (event,) = values(result, BEHAVIOUR_CLEAN)
    return event


def refused(record: MemoryRecord, rules: IngestRules = RULES) -> dict[str, Any]:
    (letter,) = values(run(make(rules), [record]), DEAD_LETTER)
    return letter


def test_an_event_comes_out_clean() -> None:
    record = avro(
        7,
        user_id="  anna@example.com ",
        event_type="PURCHASE",
        event_id="e-1",
        occurred_at="2025-10-09T16:53:45+08:00",
        item_id=" 84029E ",
        quantity=5000.0,
        price=3.39,
        currency="gbp",
        recommendation_id="ABCDEF" * 5 + "00",
        position=3,
        session_id="s-1",
        region="United Kingdom",
    )
    result = run(make(), [record])
    (output,) = result.outputs
    event = CODECS.for_topic(BEHAVIOUR_CLEAN).decode(output.value)
    hashes = Pseudonymizer(PseudonymKey("k1", b"k" * 32))
    assert opened_id(SUBSCRIBER, event) == "anna@example.com"
    del event["sealed_id"]
    assert event == {
        "event_id": hashes.event_id("anna@example.com", "e-1"),
        "pseudonym": hashes.pseudonym("anna@example.com"),
        "event_type": "purchase",
        "occurred_at": 1_760_000_025_000 // 60_000 * 60_000,
        "item_id": "84029E",
        "query": None,
        "quantity": 1000,
        "price_band": 7,
        "currency": "GBP",
        "country": "GB",
        "recommendation_id": "abcdef" * 5 + "00",
        "position": 3,
        "session": hashes.session("anna@example.com", "s-1"),
        "flags": ["quantity_capped"],
        "linked_to": None,
        "refused": [],
        "request_id": None,
        "move": None,
    }
    assert output.key == event["pseudonym"].encode()
    assert output.partition is None
    assert len(output.record_id) == 16


def test_what_is_missing_is_filled_by_rule() -> None:
    event = clean(avro(7, timestamp=NOW - 90_000, occurred_at=None, price=2.0), replace(RULES, default_region="DE", default_currency="SEK"))
    assert event["occurred_at"] == (NOW - 90_000) // 60_000 * 60_000
    assert event["quantity"] == 1
    assert (event["currency"], event["country"], event["flags"]) == ("SEK", "DE", ["time_filled"])
    assert event["event_id"] == Pseudonymizer(PseudonymKey("k1", b"k" * 32)).position_id(BEHAVIOUR_RAW, 0, 7)
    assert event["session"] is None


def test_searches_are_scrubbed_and_carry_no_item() -> None:
    event = clean(avro(1, event_type="search", item_id="84029E", query="羽绒服 联系138 0013 8000"))
    assert (event["item_id"], event["query"], event["flags"]) == (None, "羽绒服 联系<phone>", ["query_scrubbed"])
    assert clean(avro(1, query="anna@example.com"))["query"] is None


def test_regions_that_say_nothing() -> None:
    assert clean(avro(1, region="Atlantis"), replace(RULES, default_region="DE"))["country"] is None
    assert clean(avro(1, region="Atlantis"))["flags"] == ["region_unknown"]
    assert clean(avro(1, region=" "), replace(RULES, default_region="DE"))["country"] == "DE"


@pytest.mark.parametrize(("position", "kept"), [(0, 0), (10_000, 10_000), (10_001, None), (-1, None), (2**31 - 1, None), (None, None)])
def test_positions(position: int | None, kept: int | None) -> None:
    assert clean(avro(1, position=position))["position"] == kept


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": " "}, Reason.MISSING_USER),
        ({"user_id": "a\u202enna"}, Reason.BAD_USER),
        ({"event_type": "teleport"}, Reason.UNKNOWN_EVENT_TYPE),
        ({"item_id": None}, Reason.MISSING_ITEM),
        ({"item_id": "anna@example.com"}, Reason.BAD_ITEM),
        ({"event_type": "search", "query": None}, Reason.MISSING_QUERY),
        ({"event_type": "search", "query": "\u200b"}, Reason.BAD_QUERY),
        ({"occurred_at": "soon"}, Reason.BAD_TIME),
        ({"occurred_at": NOW + 301_000}, Reason.TIME_IN_FUTURE),
        ({"occurred_at": "9999-12-31"}, Reason.TIME_IN_FUTURE),
        ({"occurred_at": "0001-01-01"}, Reason.TIME_TOO_OLD),
        ({"price": -1.0}, Reason.BAD_PRICE),
        ({"price": 1.0, "currency": "anna"}, Reason.BAD_CURRENCY),
        ({"event_type": "cart", "quantity": 0.0}, Reason.BAD_QUANTITY),
        ({"event_type": "purchase", "quantity": -2.0}, Reason.BAD_QUANTITY),
        ({"user_agent": "python-requests/2.32"}, Reason.AUTOMATED),
    ],
)
def test_refusals(fields: dict[str, Any], reason: Reason) -> None:
    letter = refused(avro(9, **fields))
    assert letter["reason"] == reason.value
    assert (letter["source_topic"], letter["source_partition"], letter["source_offset"]) == (BEHAVIOUR_RAW, 0, 9)
    assert "anna" not in letter["detail"]
    assert set(letter["redacted_fields"]) == {name for name, value in raw(**fields).items() if value is not None}


def test_no_time_anywhere() -> None:
    assert refused(avro(1, timestamp=-1, occurred_at=None))["reason"] == Reason.BAD_TIME.value
    assert clean(avro(1, timestamp=-1))["occurred_at"] == NOW // 60_000 * 60_000


def test_the_present_is_the_records_own_time() -> None:
    """However late a record is processed, or processed again, it is judged the same."""
    record = avro(1, timestamp=NOW - 3_600_000, occurred_at=NOW - 3_000_000)
    assert refused(record)["reason"] == Reason.TIME_IN_FUTURE.value
    # A producer whose clock is ahead doesn't make the future the present.
    assert refused(avro(1, timestamp=NOW + 10**9, occurred_at=NOW + 10**9))["reason"] == Reason.TIME_IN_FUTURE.value


HOSTILE: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"NaN",
    b'{"user_id": "\xff", "event_type": "view"}',
    b'{"user_id": "\\ud800", "event_type": "view", "item_id": "1"}',
    b'{"user_id": "anna", "event_type": "view", "item_id": "1", "price": NaN}',
    b'{"user_id": "anna", "event_type": "view", "item_id": "1", "price": 1e999}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    {"user_id": "anna"},
    {"user_id": None, "event_type": "view"},
    {"user_id": 17.5, "event_type": "view", "item_id": "1"},
    {"user_id": 17.0, "event_type": "view", "item_id": "1"},
    {"user_id": ["anna"], "event_type": "view", "item_id": "1"},
    {"user_id": {"anna": 1}, "event_type": "view", "item_id": "1"},
    {"user_id": True, "event_type": "view", "item_id": "1"},
    {"user_id": "anna", "event_type": ["view"], "item_id": "1"},
    {"user_id": "anna", "event_type": "view", "item_id": 84029.5},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "price": True},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "price": "1,50"},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "price": "1.500"},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "price": ["1.50"]},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "position": 1.5},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "position": 2**31},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "occurred_at": True},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "occurred_at": [2025]},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "occurred_at": 10**40},
    {"user_id": "anna", "event_type": "view", "item_id": "1", "occurred_at": "2016-12-31T23:59:61Z"},
    {"user_id": "anna", "event_type": "cart", "item_id": "1", "quantity": 1e300},
    {"user_id": "anna\u0000", "event_type": "view", "item_id": "1"},
    {"user_id": "a" * 10_000_000, "event_type": "view", "item_id": "1"},
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: str(value)[:60])
def test_hostile_json_is_dead_lettered(value: Any) -> None:
    good = from_json(0, {"user_id": "anna", "event_type": "view", "item_id": "1"})
    after = from_json(2, {"user_id": "bert", "event_type": "view", "item_id": "1"})
    result = run(make(), [good, from_json(1, value), after])
    assert result.rejected == 1
    assert len(values(result, BEHAVIOUR_CLEAN)) == 2
    (letter,) = values(result, DEAD_LETTER)
    assert "anna" not in letter["detail"]
    if letter["sealed_original"] is not None:
        original = open_original(RECOVERY, letter["sealed_original"])
        assert original.key == b"key of anna"
        assert original.value == (value if isinstance(value, bytes) else json.dumps(value).encode())


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers(), max_size=2)
names = st.sampled_from(sorted(FIELDS))


@settings(max_examples=150)
@given(st.lists(st.dictionaries(names, scalars, max_size=14), max_size=6))
def test_any_json_is_clean_or_refused(objects: list[dict[str, Any]]) -> None:
    base = {"user_id": "anna", "event_type": "view", "item_id": "1"}
    records = [from_json(offset, base | value) for offset, value in enumerate(objects)]
    result = run(make(), records)
    duplicates = result.dropped.get("duplicate", 0)  # two of the objects may name the same event
    assert len(result.outputs) + duplicates == len(records)
    assert sum(result.reasons.values()) == result.rejected
    clean_events = values(result, BEHAVIOUR_CLEAN)
    letters = values(result, DEAD_LETTER)
    assert len(clean_events) + len(letters) + duplicates == len(records)
    assert all(letter["reason"] in set(Reason) for letter in letters)


@given(st.binary(max_size=80), st.sampled_from([(), JSON]))
def test_any_bytes_are_refused(value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    result = run(make(), [MemoryRecord(BEHAVIOUR_RAW, 0, 0, NOW, value, value, headers)])
    assert result.rejected == 1
    assert len(result.outputs) == 1


def test_duplicates_are_dropped_and_counted() -> None:
    stage = make()
    result = run(stage, [avro(0, event_id="e"), avro(1, event_id="e"), avro(2, event_id="f"), avro(3, event_id="e", user_id="bert")])
    assert len(values(result, BEHAVIOUR_CLEAN)) == 3
    assert result.rejected == 0
    assert result.dropped == {"duplicate": 1}
    again = run(stage, [avro(4, event_id="f"), avro(0, event_id="e", partition=1)])
    assert again.dropped == {"duplicate": 2}


def test_a_record_has_one_outcome_though_the_clock_says_otherwise_when_it_comes_again() -> None:
    """Each of the two outputs names the other as what it must not stand beside."""
    record = avro(0, event_id="e")
    clean = run(make(), [record]).outputs[0]
    letter = run(make(), [MemoryRecord(record.topic, record.partition, record.offset, record.timestamp, record.key, b"bad")]).outputs[0]
    assert (clean.topic, letter.topic) == (BEHAVIOUR_CLEAN, DEAD_LETTER)
    assert clean.unless == (letter.topic, letter.record_id)
    assert letter.unless == (clean.topic, clean.record_id)
    # So does the letter that the engine writes where the stage failed.
    builder = letters()
    make(dead_letters=builder)
    assert builder.build(record, RecordError(Reason.POISON)).record_id == clean.record_id


def test_events_without_an_id_are_never_duplicates() -> None:
    assert (
        len(values(run(make(), [avro(offset, event_id=blank) for offset, blank in enumerate([None, "", " ", None])]), BEHAVIOUR_CLEAN)) == 4
    )


def test_a_refused_event_may_come_back_mended() -> None:
    stage = make()
    assert run(stage, [avro(0, event_id="e", price=-1.0)]).rejected == 1
    assert len(values(run(stage, [avro(1, event_id="e", price=1.0)]), BEHAVIOUR_CLEAN)) == 1


@given(st.data())
@pytest.mark.slow
def test_records_handed_over_again_give_the_same(data: st.DataObject) -> None:
    """Retried, halved, or from a rewound offset: every record's output is what it would be without any failure."""
    rules = replace(RULES, throttle_per_minute=4)
    count = data.draw(st.integers(1, 24))
    records = [
        avro(
            offset,
            user_id=data.draw(st.sampled_from(["anna", "bert"])),
            event_id=data.draw(st.sampled_from([None, "e", "f", "g"])),
            price=data.draw(st.sampled_from([None, 1.0, -1.0])),
        )
        for offset in range(count)
    ]

    def by_position(result: BatchResult) -> dict[tuple[str, bytes], bytes | None]:
        return {(output.topic, output.record_id): output.key for output in result.outputs}

    wanted = by_position(run(make(rules), records))
    stage = make(rules)
    found: dict[tuple[str, bytes], bytes | None] = {}
    done = 0
    while done < count:
        start = data.draw(st.integers(0, done))
        stop = data.draw(st.integers(done + 1, count))
        again = by_position(run(stage, records[start:stop]))
        assert again.items() <= wanted.items()
        found |= again
        done = stop
    assert found == wanted


def test_a_robot_does_not_count_towards_the_bound_on_rejects() -> None:
    result = run(make(replace(RULES, throttle_per_minute=3)), [avro(offset) for offset in range(10)])
    assert [letter["reason"] for letter in values(result, DEAD_LETTER)] == ["automated"] * 7
    assert (result.rejected, result.reasons) == (0, {})


def test_an_invoice_of_hundreds_of_lines_passes() -> None:
    result = run(make(), [avro(offset, event_type="purchase", item_id=f"{offset}") for offset in range(600)])
    assert len(values(result, BEHAVIOUR_CLEAN)) == 600


def test_an_empty_batch() -> None:
    assert run(make(), []) == BatchResult()


def test_no_output_names_the_shopper() -> None:
    personal = ["anna.schmidt@example.com", "anna", "13800138000", "203.0.113.7", "11010519491231002X", "sess-anna-1", "evt-anna-1"]
    records = [
        avro(0, user_id=personal[0], session_id=personal[5], event_id=personal[6], user_agent="Mozilla/5.0 anna"),
        avro(1, user_id=personal[0], event_type="search", query=" ".join(personal[2:5]) + " " + personal[0]),
        avro(2, user_id=personal[0], price=-1.0, query=personal[2], region="anna"),
        avro(3, user_id=personal[0], recommendation_id=personal[0], region="anna"),
        avro(4, user_id="\x00" + personal[0]),
        from_json(5, {"user_id": personal[0], "event_type": "anna", personal[0]: 1}),
        MemoryRecord(BEHAVIOUR_RAW, 0, 6, NOW, personal[0].encode(), personal[0].encode(), (("x-user", personal[0].encode()),)),
    ]
    result = run(make(), records)
    assert len(result.outputs) == 7
    for output in result.outputs:
        whole = b"|".join(
            [output.key or b"", output.value or b"", output.record_id, *(name.encode() + value for name, value in output.headers)]
        )
        for word in personal:
            assert word.encode() not in whole


def test_a_clean_records_id_cannot_be_guessed_from_its_raw_position() -> None:
    def id_under(secret: bytes) -> bytes:
        (output,) = run(make(secret=secret), [avro(7)]).outputs
        assert output.record_id is not None
        return output.record_id

    ids = {id_under(b"a" * 32), id_under(b"b" * 32)}
    assert len(ids) == 2 and id_under(b"a" * 32) in ids
    assert hashlib.blake2b(b"behaviour.raw/0/7", digest_size=16).digest() not in ids


def test_no_header_of_a_producer_goes_on() -> None:
    """A trace id beside the raw event and beside the clean one would join person and pseudonym (docs/decisions/0025-no-traces.md)."""
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    mine = [*JSON, ("traceparent", trace), ("tracestate", b"shop=1"), ("baggage", b"user=anna"), ("b3", trace)]
    records = [from_json(0, raw()), from_json(1, raw(user_id=None))]
    result = run(make(), [record._replace(headers=tuple(mine)) for record in records])
    assert {output.topic for output in result.outputs} == {BEHAVIOUR_CLEAN, DEAD_LETTER}
    for output in result.outputs:
        told = (output.value or b"") + repr(output.headers).encode()
        assert b"trace" not in told and trace not in told and b"0af7651916cd43dd" not in told and b"baggage" not in told
