"""Dead letters: where, why, and the original for the recovery key alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder, open_original
from streams.dead_letters.signatures import Origin, origin
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError, Reason, RecordError
from streams.privacy.seal import Sealer
from streams.serde import local_codecs
from streams.serde.local_registry import LocalRegistry
from streams.topics import BEHAVIOUR_RAW, DEAD_LETTER
from tests.support.stage_keys import SIGNING_KEY

CODEC = local_codecs().for_topic(DEAD_LETTER)
RECOVERY = PrivateKey.generate()
RECORD = MemoryRecord("shop.behaviour.raw", 3, 14, 1_759_999_000_000, b"key", b"\x00\x00\x00\x00\x07body", (("h", b"v"),))
ERROR = RecordError(Reason.BAD_PRICE, "price must be above zero")


def builder(most: int = 1000, stage: str = "ingest", has_met: Callable[[int], bool] = lambda number: number == 7) -> DeadLetterBuilder:
    return DeadLetterBuilder(
        CODEC, Sealer(RECOVERY.public_key), stage, FixedClock(1_760_000_000_000), most, signing_key=SIGNING_KEY, has_met=has_met
    )


def test_the_letter() -> None:
    output = builder().build(RECORD, ERROR, attempt=2, fields=["user_id", "price"])
    letter = CODEC.decode(output.value)
    sealed = letter.pop("sealed_original")
    assert letter == {
        "dead_letter_id": output.record_id.hex(),
        "reason": "bad_price",
        "detail": "price must be above zero",
        "stage": "ingest",
        "source_topic": "shop.behaviour.raw",
        "source_partition": 3,
        "source_offset": 14,
        "source_timestamp": 1_759_999_000_000,
        "schema": "id 7",
        "attempt": 2,
        "redacted_fields": ["user_id", "price"],
        "rejected_at": 1_760_000_000_000,
    }
    assert open_original(RECOVERY, sealed) == (b"key", RECORD.value, [("h", b"v")])
    assert (output.topic, output.key, output.partition) == (DEAD_LETTER, b"shop.behaviour.raw/3/14", None)
    headers = dict(output.headers)
    assert origin(CODEC.decode(output.value), output.value, output.headers, {"ingest": SIGNING_KEY.verify_key}) is Origin.SIGNED
    assert len(headers.pop("veilstream-signature")) == 64
    assert headers == {
        "__connect.errors.topic": b"shop.behaviour.raw",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"14",
        "__connect.errors.stage": b"ingest",
        "__connect.errors.exception.class.name": b"RecordError",
        "__connect.errors.exception.message": b"bad_price: price must be above zero",
    }
    assert output.reason == "bad_price", "as the metrics count it once it is written"


def test_the_id_is_of_the_stage_and_the_position() -> None:
    again = builder().build(RECORD._replace(value=b"other", timestamp=1), RecordError(Reason.POISON), attempt=5)
    assert again.record_id == builder().build(RECORD, ERROR).record_id
    others = {
        builder(stage="profile").build(RECORD, ERROR).record_id,
        *(builder().build(RECORD._replace(**change), ERROR).record_id for change in ({"offset": 15}, {"partition": 4}, {"topic": "t"})),
    }
    assert len(others | {again.record_id}) == 5


def test_a_value_that_slips_into_a_detail_is_scrubbed() -> None:
    output = builder().build(RECORD, RecordError(Reason.POISON, "could not parse anna@example.com"))
    assert CODEC.decode(output.value)["detail"] == "could not parse <email>"
    assert all(b"anna" not in value for _, value in output.headers)


def test_large_originals_are_left_out() -> None:
    assert CODEC.decode(builder(most=100).build(RECORD._replace(value=b"x" * 101), ERROR).value)["sealed_original"] is None


def test_four_bytes_that_are_no_schema_id_are_not_told() -> None:
    """A value that begins with a zero byte may hold anything behind it."""
    codecs = local_codecs()
    record = RECORD._replace(value=b"\x00anna@example.com")
    try:
        codecs.for_topic(BEHAVIOUR_RAW).decode(record.value)
    except RecordError as error:
        output = builder(has_met=codecs.has_met).build(record, error)
    letter = CODEC.decode(output.value)
    assert (letter["reason"], letter["detail"], letter["schema"]) == ("unknown_schema", "its schema id is not known", "unknown")
    shown = repr({**letter, "sealed_original": b""}) + repr(output.headers)
    assert str(int.from_bytes(b"anna", "big")) not in shown and "anna" not in shown


def test_the_id_of_a_schema_is_told() -> None:
    codecs = local_codecs()
    value = codecs.for_topic(BEHAVIOUR_RAW).encode({"user_id": "u", "event_type": "view"})
    letter = CODEC.decode(builder(has_met=codecs.has_met).build(RECORD._replace(value=value), ERROR).value)
    assert letter["schema"] == f"id {LocalRegistry().id_for(BEHAVIOUR_RAW)}"
    assert CODEC.decode(builder().build(RECORD._replace(value=b'{"user_id": "u"}'), ERROR).value)["schema"] is None


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_lengths_of_originals_are_few(one: int, other: int) -> None:
    """512 bytes, or the next power of two, or the most that is kept: whatever of key, value and headers is long."""
    keeper = builder(most=3500)
    sizes = []
    for record in (RECORD._replace(value=b"x" * one), RECORD._replace(key=b"k" * other), RECORD._replace(headers=(("h", b"v" * other),))):
        sealed = CODEC.decode(keeper.build(record, ERROR).value)["sealed_original"]
        assert open_original(RECOVERY, sealed) == (record.key, record.value, list(record.headers))
        sizes.append(len(sealed) - 48 - 1)
    assert set(sizes) <= {512, 1024, 2048, 3501}


def test_an_original_from_before_they_were_padded() -> None:
    for headers in ([], [("h", b"\x80\x00\x00")], [("h", b"\x01")]):
        packed = msgspec.msgpack.encode((b"key", b"value\x80", headers))
        assert open_original(RECOVERY, Sealer(RECOVERY.public_key).seal(packed)) == (b"key", b"value\x80", headers)


@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=400),
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
)
def test_any_original_comes_back(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    record = RECORD._replace(key=key, value=value, headers=tuple(headers))
    sealed = CODEC.decode(builder().build(record, ERROR).value)["sealed_original"]
    assert open_original(RECOVERY, sealed) == (key, value, headers)
    assert value is None or len(value) < 6 or value not in sealed


@pytest.mark.parametrize("content", [b"", b"x", b"\x93\x01\x02\x03", b"\xc0", b"\x01", b"\x01\x80\x00", b"\x01\x93\xc0\xc0\x90"])
def test_a_box_that_holds_something_else(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="damaged"):
        open_original(RECOVERY, Sealer(RECOVERY.public_key).seal(content))


def test_another_key_opens_nothing() -> None:
    sealed = CODEC.decode(builder().build(RECORD, ERROR).value)["sealed_original"]
    with pytest.raises(ConfigurationError, match="another key"):
        open_original(PrivateKey.generate(), sealed)
