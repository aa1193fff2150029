"""Dead letters: why a record was refused, its position, and the original, sealed to the operator's recovery key.

The stage signs the letter. Before it is sealed, an original is padded to one of a few lengths (powers of two): next to a letter's time and
topic, the exact length would tell which record it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec
from nacl.signing import SigningKey

from streams.clock import Clock
from streams.dead_letters.signatures import SIGNATURE_HEADER, sign_letter
from streams.engine.records import OutputRecord, SourceRecord
from streams.errors import ConfigurationError, RecordError
from streams.privacy.padding import bucket, padded, unpadded
from streams.privacy.scrub import scrub
from streams.privacy.seal import PrivateKeys, Sealer, open_sealed
from streams.topics import DEAD_LETTER

LEAST_SEALED = 512
_PADDED = b"\x01"
"""Before a padded original. One from before they were padded begins with 0x93, msgpack's array of three."""


class Encodes(Protocol):
    """The part of a codec that is needed here."""

    def encode(self, record: Mapping[str, Any]) -> bytes: ...


class Original(NamedTuple):
    """A refused record as it came."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class PositionIds:
    """Ids of records, and of their lines, by their positions: BLAKE2b-128 of ``<prefix><topic>/<partition>/<offset>[/<line>]``, under a key
    where nobody else may know which record has which id."""

    def __init__(self, prefix: str = "", key: bytes = b"") -> None:
        self._prefix = prefix
        self._key = key
        self._topic, self._partition = "", -1
        self._begun = blake2b(digest_size=16, key=key)
        """Has taken in what the records of one partition have in common."""

    def of(self, record: SourceRecord, line: int = 0) -> bytes:
        """16 bytes."""
        if record.partition != self._partition or record.topic != self._topic:
            self._topic, self._partition = record.topic, record.partition
            self._begun = blake2b(f"{self._prefix}{self._topic}/{self._partition}/".encode(), digest_size=16, key=self._key)
        digest = self._begun.copy()
        digest.update(b"%d/%d" % (record.offset, line) if line else b"%d" % record.offset)
        return digest.digest()


class DeadLetterBuilder:
    """Builds the dead letters of a stage. Only the position of the record is in the clear."""

    def __init__(
        self,
        codec: Encodes,
        sealer: Sealer,
        stage: str,
        clock: Clock,
        max_sealed_bytes: int,
        *,
        signing_key: SigningKey,
        has_met: Callable[[int], bool] = lambda schema_id: False,
    ) -> None:
        """``has_met``: whether a number is the id of a schema; only then it is told in the clear."""
        self._codec = codec
        self._sealer = sealer
        self._stage = stage
        self._ids = PositionIds(f"{stage}/")
        self._clock = clock
        self._max_sealed_bytes = max_sealed_bytes
        self._signing_key = signing_key
        self._has_met = has_met

    def build(
        self, record: SourceRecord, error: RecordError, *, attempt: int = 1, fields: Sequence[str] = (), line: int = 0
    ) -> OutputRecord:
        """The dead letter of a record, or of one of its lines; ``fields`` are names of its known fields that had a value."""
        # By rule, details hold no raw values. If one ever does, it must not be readable here.
        detail, _ = scrub(error.detail)
        position = f"{record.topic}/{record.partition}/{record.offset}"
        record_id = self._ids.of(record, line)
        value = self._codec.encode(
            {
                "dead_letter_id": record_id.hex(),
                "reason": error.reason.value,
                "detail": detail,
                "stage": self._stage,
                "source_topic": record.topic,
                "source_partition": record.partition,
                "source_offset": record.offset,
                "source_timestamp": record.timestamp,
                "schema": self._schema(record.value),
                "attempt": attempt,
                "redacted_fields": list(fields),
                "sealed_original": self._seal(record),
                "rejected_at": self._clock.now_ms(),
            }
        )
        headers = (
            ("__connect.errors.topic", record.topic.encode()),
            ("__connect.errors.partition", str(record.partition).encode()),
            ("__connect.errors.offset", str(record.offset).encode()),
            ("__connect.errors.stage", self._stage.encode()),
            ("__connect.errors.exception.class.name", type(error).__name__.encode()),
            ("__connect.errors.exception.message", f"{error.reason.value}: {detail}".encode()),
            (SIGNATURE_HEADER, sign_letter(value, self._signing_key)),
        )
        return OutputRecord(DEAD_LETTER, position.encode(), value, record_id, None, headers, None, error.reason.value)

    def share_ids(self, ids: PositionIds) -> None:
        """From now on name letters by these ids, which name the stage's other outputs too: a record is in one topic or in the other."""
        self._ids = ids

    def _seal(self, record: SourceRecord) -> bytes | None:
        packed = msgspec.msgpack.encode((record.key, record.value, [(name, value) for name, value in record.headers]))
        if len(packed) > self._max_sealed_bytes:
            return None
        return self._sealer.seal(_PADDED + padded(packed, bucket(len(packed), LEAST_SEALED, self._max_sealed_bytes + 1)))

    def _schema(self, value: bytes | None) -> str | None:
        if not value or len(value) < 5 or value[0] != 0:
            return None
        schema_id = int.from_bytes(value[1:5], "big")
        return f"id {schema_id}" if self._has_met(schema_id) else "unknown"


def open_original(private_key: PrivateKeys, sealed: bytes) -> Original:
    """The record in a dead letter's box. Raises ConfigurationError if the key does not fit, or it holds something else."""
    return unpack_original(open_sealed(private_key, sealed))


def unpack_original(packed: bytes) -> Original:
    """Whoever has the public key can seal anything: raises ConfigurationError for what is no record."""
    try:
        if packed[:1] == _PADDED:
            packed = unpadded(packed[1:])
        return Original(*msgspec.msgpack.decode(packed, type=tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError("the sealed original is damaged") from error
