"""What becomes of a dead letter's original."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nacl.public import PrivateKey

from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.dead_letters.recovery import Mended, edit, mended, opened
from streams.engine.records import MemoryRecord
from streams.errors import Reason, RecordError
from streams.privacy.seal import Sealer
from streams.serde import local_codecs
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, CATALOGUE_ITEMS, DEAD_LETTER
from tests.support.stage_keys import SIGNING_KEY

CODECS = local_codecs()
KEY = PrivateKey.generate()
JSON = (("content-type", b"application/json"),)
EVENT = {"user_id": "u", "event_type": "view", "event_id": "e", "occurred_at": "2024-01-01", "item_id": "i"}


def letter_of(record: MemoryRecord, max_bytes: int = 100_000) -> dict[str, Any]:
    """The dead letter of a record, through the wire."""
    builder = DeadLetterBuilder(
        CODECS.for_topic(DEAD_LETTER), Sealer(KEY.public_key), "ingest", FixedClock(5), max_bytes, signing_key=SIGNING_KEY
    )
    return CODECS.for_topic(DEAD_LETTER).decode(builder.build(record, RecordError(Reason.BAD_ITEM, "why")).value)


def recovered(topic: str, value: bytes, headers: Any = (), key: bytes | None = b"k", prefix: str = "", **edits: str) -> Mended:
    letter = letter_of(MemoryRecord(prefix + topic, 3, 7, 1_700_000_000_000, key, value, headers))
    return mended(opened(KEY, letter), letter, edits, CODECS, prefix)


def raw(**change: Any) -> bytes:
    return CODECS.for_topic(BEHAVIOUR_RAW).encode({**EVENT, **change})


def test_an_original_goes_back_as_it_was_with_the_edit() -> None:
    record = recovered(BEHAVIOUR_RAW, raw(), prefix="shop.", item_id="84029")
    assert (record.topic, record.key) == ("shop.behaviour.raw", b"k")
    assert CODECS.for_topic(BEHAVIOUR_RAW).decode(record.value) == record.fields
    assert {name: record.fields[name] for name in EVENT} == {**EVENT, "item_id": "84029"}


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_an_event_without_an_id_gets_the_same_one_each_time(missing: str | None) -> None:
    first, second = (recovered(BEHAVIOUR_RAW, raw(event_id=missing)) for _ in range(2))
    assert first.fields["event_id"] == second.fields["event_id"]
    assert first.fields["event_id"].startswith("recovered-")


def test_an_event_without_a_time_keeps_that_of_its_arrival() -> None:
    assert recovered(BEHAVIOUR_RAW, raw(occurred_at=None)).fields["occurred_at"] == 1_700_000_000_000


def test_json_is_mended_before_it_is_judged() -> None:
    wrong = json.dumps({**EVENT, "quantity": "two"}).encode()
    with pytest.raises(RecordError, match="quantity"):
        recovered(BEHAVIOUR_RAW, wrong, JSON)
    assert recovered(BEHAVIOUR_RAW, wrong, JSON, quantity="2").fields["quantity"] == 2
    missing = json.dumps({"event_type": "view"}).encode()
    assert recovered(BEHAVIOUR_RAW, missing, JSON, user_id="u").fields["user_id"] == "u"


def test_an_items_key_follows_its_id() -> None:
    value = CODECS.for_topic(CATALOGUE_ITEMS).encode({"item_id": "7", "title": "t"})
    assert recovered(CATALOGUE_ITEMS, value, key=b"other").key == b"7"


def test_what_only_the_product_writes_can_be_shown() -> None:
    clean = {"event_id": "e", "pseudonym": "p", "sealed_id": b"", "event_type": "view", "occurred_at": 1}
    assert recovered(BEHAVIOUR_CLEAN, CODECS.for_topic(BEHAVIOUR_CLEAN).encode(clean)).fields["event_id"] == "e"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("quantity", "2", 2),
        ("quantity", "2.5", 2.5),
        ("quantity", "null", None),
        ("item_id", "84029", "84029"),
        ("item_id", "null", None),
        ("item_id", "true", "true"),
        ("item_id", '"quoted"', "quoted"),
        ("user_id", "null", "null"),
        ("query", "a=b c", "a=b c"),
        ("occurred_at", "2024-01-01", "2024-01-01"),
        ("occurred_at", "1700000000", 1_700_000_000),
    ],
)
def test_edits_become_the_fields_type(field: str, text: str, value: Any) -> None:
    found = edit(CODECS.for_topic(BEHAVIOUR_RAW), field, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("field", "text"), [("quantity", "two"), ("quantity", "NaN"), ("position", "1.5"), ("position", "[" * 100_000)])
def test_edits_that_do_not_fit_are_refused_without_their_value(field: str, text: str) -> None:
    with pytest.raises(RecordError, match=f"edit of {field}") as caught:
        edit(CODECS.for_topic(BEHAVIOUR_RAW), field, text)
    assert len(str(caught.value)) < 200


def test_an_unknown_field_names_those_there_are() -> None:
    with pytest.raises(RecordError, match=r"no field item; it has user_id, .*item_id"):
        recovered(BEHAVIOUR_RAW, raw(), item="x")


@pytest.mark.parametrize("value", [b"", b"\x01nonsense", raw()[:-2]])
def test_what_can_not_be_decoded_can_not_be_mended(value: bytes) -> None:
    with pytest.raises(RecordError):
        recovered(BEHAVIOUR_RAW, value)


def test_a_foreign_topic() -> None:
    with pytest.raises(RecordError, match="VEILSTREAM_TOPIC_PREFIX"):
        recovered("orders", raw())


def test_originals_too_large_or_sealed_to_another_key() -> None:
    record = MemoryRecord(BEHAVIOUR_RAW, 0, 0, 0, None, raw())
    with pytest.raises(RecordError, match="too large"):
        opened(KEY, letter_of(record, max_bytes=10))
    with pytest.raises(RecordError, match="--key"):
        opened(PrivateKey.generate(), letter_of(record))
