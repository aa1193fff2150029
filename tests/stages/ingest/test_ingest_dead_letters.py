"""Dead letters: where, why, and the original for the recovery key alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder, open_original
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError, Reason, RecordError
from streams.privacy.seal import Sealer
from streams.serde import local_codecs
from streams.topics import DEAD_LETTER

CODEC = local_codecs().for_topic(DEAD_LETTER)
RECOVERY = PrivateKey.generate()
RECORD = MemoryRecord("shop.behaviour.raw", 3, 14, 1_759_999_000_000, b"key", b"\x00\x00\x00\x00\x07body", (("h", b"v"),))
ERROR = RecordError(Reason.BAD_PRICE, "price must be above zero")


def builder(most: int = 1000, stage: str = "ingest") -> DeadLetterBuilder:
    return DeadLetterBuilder(CODEC, Sealer(RECOVERY.public_key), stage, FixedClock(1_760_000_000_000), most)


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
    assert dict(output.headers) == {
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


@pytest.mark.parametrize("content", [b"", b"x", b"\x93\x01\x02\x03", b"\xc0"])
def test_a_box_that_holds_something_else(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="damaged"):
        open_original(RECOVERY, Sealer(RECOVERY.public_key).seal(content))


def test_another_key_opens_nothing() -> None:
    sealed = CODEC.decode(builder().build(RECORD, ERROR).value)["sealed_original"]
    with pytest.raises(ConfigurationError, match="another key"):
        open_original(PrivateKey.generate(), sealed)
