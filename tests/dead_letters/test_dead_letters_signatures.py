"""Who may have a letter replayed, and where to: forged, changed, moved and old letters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams import app, topics
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.dead_letters.signatures import SIGNATURE_HEADER, Origin, origin, replayable, sign_letter, why_not_replayed
from streams.engine.records import MemoryRecord, OutputRecord
from streams.errors import Reason, RecordError
from streams.privacy.keys import STAGES
from streams.privacy.seal import Sealer
from streams.privacy.signing import sign
from streams.serde import local_codecs

CODEC = local_codecs().for_topic(topics.DEAD_LETTER)
RECOVERY = PrivateKey.generate()
KEYS = {stage: SigningKey.generate() for stage in STAGES}
PUBLIC = {stage: key.verify_key for stage, key in KEYS.items()}
WRITABLE = replayable(["raw.web"], ["feed.google"])


def letter(topic: str = topics.BEHAVIOUR_RAW, stage: str = "ingest", key: SigningKey | None = None) -> OutputRecord:
    """As the stage makes it; with ``key``, as who has another key makes it."""
    signing_key = key or KEYS[stage]  # type: ignore[index]
    builder = DeadLetterBuilder(CODEC, Sealer(RECOVERY.public_key), stage, FixedClock(5), 10_000, signing_key=signing_key)
    record = MemoryRecord(topic, 3, 7, 1_700_000_000_000, b"k", b"value", ())
    return builder.build(record, RecordError(Reason.BAD_ITEM, "why"))


def found(output: OutputRecord, value: bytes | None = None) -> Origin:
    value = output.value if value is None else value
    assert value is not None
    return origin(CODEC.decode(value), value, output.headers, PUBLIC)


def refusal(output: OutputRecord, prefix: str = "", *, accept_unsigned: bool = False) -> str | None:
    return why_not_replayed(CODEC.decode(output.value), found(output), WRITABLE, prefix, accept_unsigned=accept_unsigned)


def changed(output: OutputRecord, **fields: Any) -> OutputRecord:
    """The letter with other fields and the signature that it had."""
    return output._replace(value=CODEC.encode({**CODEC.decode(output.value), **fields}))


def unsigned(output: OutputRecord) -> OutputRecord:
    return output._replace(headers=tuple(header for header in output.headers if header[0] != SIGNATURE_HEADER))


def test_the_stages_are_those_of_the_flow() -> None:
    assert set(STAGES) == set(app.STAGES)


@pytest.mark.parametrize(
    ("topic", "stage"),
    [(topics.BEHAVIOUR_RAW, "ingest"), ("raw.web", "ingest"), (topics.CATALOGUE_ITEMS, "catalogue"), ("feed.google", "catalogue")],
)
def test_a_stages_letter_is_replayed(topic: str, stage: str) -> None:
    assert refusal(letter(topic, stage)) is None
    assert refusal(letter(f"shop.{topic}", stage), "shop.") is None


def test_a_forged_letter() -> None:
    """With the recovery key's public half alone, as it was found, and with a key of one's own."""
    content = msgspec.msgpack.encode((b"ceo@shop.example", b"anything", []))
    forged = changed(unsigned(letter()), sealed_original=Sealer(RECOVERY.public_key).seal(content))
    assert found(forged) is Origin.UNSIGNED
    assert refusal(forged) == "it is not signed: from before letters were signed, or forged (--accept-unsigned)"
    for accept in (False, True):
        assert "FORGED" in str(refusal(letter(key=SigningKey.generate()), accept_unsigned=accept))


def test_another_stage_signs_no_letter_of_ingest() -> None:
    assert found(letter(key=KEYS["profile"])) is Origin.FORGED
    assert "refused by ingest" in str(refusal(letter(stage="profile"))), "its own key, but a record that it does not read"
    assert "refused by catalogue" in str(refusal(letter(topics.CATALOGUE_ITEMS, "ingest")))


@pytest.mark.parametrize(
    "fields",
    [
        {"source_topic": topics.CATALOGUE_ITEMS},
        {"source_topic": "raw.web"},
        {"source_offset": 8},
        {"source_timestamp": 1},
        {"dead_letter_id": "0" * 32},
        {"stage": "catalogue"},
        {"reason": "poison"},
        {"sealed_original": Sealer(RECOVERY.public_key).seal(b"other")},
        {"sealed_original": None},
    ],
    ids=lambda fields: next(iter(fields)),  # the value of a box is another in each process
)
def test_a_letter_moved_to_another_topic_or_changed(fields: dict[str, Any]) -> None:
    output = changed(letter(), **fields)
    assert found(output) is Origin.FORGED
    for accept in (False, True):
        assert refusal(output, accept_unsigned=accept) is not None


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    output = letter()
    value = bytearray(output.value or b"")
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    decoded = CODEC.decode(output.value)
    assert origin(decoded, bytes(value), output.headers, PUBLIC) is Origin.FORGED


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 64, b"\x00" * 63])
def test_signatures_that_are_none(content: bytes | None) -> None:
    output = letter()
    assert origin(CODEC.decode(output.value), output.value or b"", [(SIGNATURE_HEADER, content)], PUBLIC) is Origin.FORGED
    twice = (*output.headers, (SIGNATURE_HEADER, b"\x00" * 64))
    assert origin(CODEC.decode(output.value), output.value or b"", twice, PUBLIC) is Origin.FORGED


def test_a_sealed_ids_signature_signs_no_letter() -> None:
    output = letter()
    signature = sign("sealed id", output.value or b"", KEYS["ingest"])
    assert origin(CODEC.decode(output.value), output.value or b"", [(SIGNATURE_HEADER, signature)], PUBLIC) is Origin.FORGED
    assert len(sign_letter(b"", KEYS["ingest"])) == 64


def test_an_old_letter_is_replayed_where_that_is_said() -> None:
    output = unsigned(letter())
    assert "--accept-unsigned" in str(refusal(output))
    assert refusal(output, accept_unsigned=True) is None


def test_without_the_stages_public_key_nothing_is_replayed() -> None:
    output = letter()
    decoded = CODEC.decode(output.value)
    where = origin(decoded, output.value or b"", output.headers, {"profile": PUBLIC["profile"]})
    assert where is Origin.NOT_VERIFIED
    for accept in (False, True):
        why = why_not_replayed(decoded, where, WRITABLE, "", accept_unsigned=accept)
        assert why is not None and "ingest.pub is needed" in why


@pytest.mark.parametrize("name", [name for name in topics.BY_NAME if name not in (topics.BEHAVIOUR_RAW, topics.CATALOGUE_ITEMS)])
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_replayed_into_a_topic_of_the_product(name: str, stage: str) -> None:
    """``models`` and ``privacy.erasure`` included; signed or not, and whatever is accepted."""
    for output in (letter(name, stage), unsigned(letter(name, stage))):
        assert "only what producers wrote is replayed" in str(refusal(output, accept_unsigned=True))


@pytest.mark.parametrize("topic", ["", "orders", "shop.orders", topics.BEHAVIOUR_RAW, "other.behaviour.raw", "shop.shop.behaviour.raw"])
def test_nothing_is_replayed_outside_of_the_deployment(topic: str) -> None:
    assert "VEILSTREAM_TOPIC_PREFIX" in str(refusal(letter(topic), "shop.", accept_unsigned=True))
