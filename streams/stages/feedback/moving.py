"""Between the feedback stage and the topic of what goes from old pseudonyms to new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, cast

from streams.engine.ports import DeadLetters, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import ConfigurationError, RecordError
from streams.privacy.moves import Announcement, MovesReader
from streams.serde.records import Moved
from streams.stages.feedback.ledger import Shopper
from streams.stages.feedback.moves import FeedbackMove, arrive, leave
from streams.stages.feedback.rules import FeedbackRules
from streams.topics import PRIVACY_MOVES

_STAGE: Literal["feedback"] = "feedback"
_ENDED = "move_ended"
"""What was sealed with the key of a rotation that was ended."""


class Moves:
    """Opens, seals and takes in what stages say of old pseudonyms and new ones."""

    def __init__(self, codecs: TopicCodecs, reader: MovesReader, dead_letters: DeadLetters, rules: FeedbackRules) -> None:
        self._codec = codecs.for_topic(PRIVACY_MOVES)
        self._reader, self._dead_letters, self._size = reader, dead_letters, rules.history_size

    def opened(self, sealed: bytes, result: BatchResult) -> Announcement | None:
        """What an event of the type ``move`` says; None, which is counted, for one of a rotation that was ended. Raises RecordError for
        what nobody sealed, and ConfigurationError without the key."""
        sealer = self._reader.of(sealed)
        if sealer is None:
            result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            return None
        return sealer.open("announcement", sealed, Announcement)

    def leave(self, shopper: Shopper, offset: int, said: Announcement, result: BatchResult) -> bool:
        """Apply what ingest says of an old pseudonym; what is to be sent goes into the result. Whether the shopper has changed."""
        if offset <= shopper.clean_offset:
            return False
        is_somebody = not shopper.is_blank
        move = leave(shopper, said, offset, self._size)
        if move is not None:
            result.outputs.append(self._output(move))
        if is_somebody:
            shopper.clean_offset = offset
        return is_somebody

    def decoded(self, batch: Sequence[SourceRecord], result: BatchResult) -> list[FeedbackMove]:
        """What was sent by this stage; what nobody sealed is a dead letter."""
        moves = []
        for record in batch:
            try:
                value = cast(Moved, self._codec.decode(record.value, record.headers))
                sealer = self._reader.of(value["sealed"]) if value["stage"] == _STAGE else None
                if sealer is not None:
                    moves.append(sealer.open(_STAGE, value["sealed"], FeedbackMove))
                elif value["stage"] == _STAGE:
                    result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                result.rejected += 1
                result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1
        return moves

    def arrive(self, moves: Iterable[FeedbackMove], shoppers: Mapping[bytes, Shopper]) -> list[bytes]:
        """Apply what was sent to the shoppers, in place; the keys of those that changed."""
        return [move.new.encode() for move in moves if arrive(shoppers[move.new.encode()], move, self._size)]

    def _output(self, move: FeedbackMove) -> OutputRecord:
        sealer = self._reader.sealer
        if sealer is None:
            raise ConfigurationError("a shopper is to be moved without moves.key; copy it from where `veilstream keys rotate` made it")
        value = self._codec.encode({"stage": _STAGE, "sealed": sealer.seal(_STAGE, move)})
        name = f"{_STAGE} {move.what} {move.new}".encode()
        record_id = blake2b(name, digest_size=16, key=move.move_id, person=b"vs.move").digest()
        return OutputRecord(PRIVACY_MOVES, None, value, record_id, partition_key=move.new.encode())
