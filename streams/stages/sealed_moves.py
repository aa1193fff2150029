"""What a stage reads and says of old pseudonyms and new ones, while the pseudonym key is rotated: announcements of ingest among the events,
and its own messages, sealed, in ``privacy.moves``."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar, cast

from streams.engine.ports import DeadLetters, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import ConfigurationError, RecordError
from streams.privacy.moves import Announcement, MovesReader
from streams.serde.records import Moved
from streams.topics import PRIVACY_MOVES

M = TypeVar("M", bound=Any)
"""A message of the stage: a struct with ``move_id``, ``what``, ``old`` and ``new``."""
_ENDED = "move_ended"
"""What was sealed with the key of a rotation that was ended."""


class SealedMoves(Generic[M]):
    """Of one stage."""

    def __init__(
        self, stage: Literal["profile", "feedback"], message: type[M], codecs: TopicCodecs, reader: MovesReader, dead_letters: DeadLetters
    ) -> None:
        self._stage: Literal["profile", "feedback"] = stage
        self._message = message
        self._codec = codecs.for_topic(PRIVACY_MOVES)
        self._reader, self._dead_letters = reader, dead_letters

    def announcement(self, sealed: bytes | None, result: BatchResult) -> Announcement | None:
        """What an event of the type ``move`` says; None, which is counted, for one of a rotation that was ended. Raises RecordError for
        what nobody sealed, and ConfigurationError without the key."""
        sealer = self._reader.of(sealed or b"")
        if sealer is None:
            result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            return None
        return sealer.open("announcement", sealed or b"", Announcement)

    def decoded(self, batch: Sequence[SourceRecord], result: BatchResult) -> list[M]:
        """What was sent by this stage; what nobody sealed is a dead letter."""
        moves = []
        for record in batch:
            try:
                value = cast(Moved, self._codec.decode(record.value, record.headers))
                sealer = self._reader.of(value["sealed"]) if value["stage"] == self._stage else None
                if sealer is not None:
                    moves.append(sealer.open(self._stage, value["sealed"], self._message))
                elif value["stage"] == self._stage:
                    result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                result.rejected += 1
                result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1
        return moves

    def output(self, move: M) -> OutputRecord:
        """To the partition of the new pseudonym, which only its sealed part names. Raises ConfigurationError without the key."""
        sealer = self._reader.sealer
        if sealer is None:
            raise ConfigurationError("a shopper is to be moved without moves.key; copy it from where `veilstream keys rotate` made it")
        value = self._codec.encode({"stage": self._stage, "sealed": sealer.seal(self._stage, move)})
        name = f"{self._stage} {move.what} {move.old} {move.new}".encode()
        record_id = blake2b(name, digest_size=16, key=move.move_id, person=b"vs.move").digest()
        return OutputRecord(PRIVACY_MOVES, None, value, record_id, partition_key=move.new.encode())
