"""Between the profile stage and the topic of what goes from old pseudonyms to new ones."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, cast

from streams.engine.ports import DeadLetters, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import ConfigurationError, RecordError
from streams.privacy.moves import Announcement, MovesReader
from streams.ranking.rules import ProfileRules
from streams.serde.records import CleanEvent, Moved
from streams.stages.profile.moves import ProfileMove, arrive, is_empty
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.profile.withdrawal import erased_until_key, load_erased_until
from streams.topics import PRIVACY_MOVES

_STAGE: Literal["profile"] = "profile"
_ENDED = "move_ended"
"""What was sealed with the key of a rotation that was ended."""


class Moves:
    """Opens, seals and takes in what stages say of old pseudonyms and new ones."""

    def __init__(self, codecs: TopicCodecs, reader: MovesReader, dead_letters: DeadLetters, rules: ProfileRules) -> None:
        self._codec = codecs.for_topic(PRIVACY_MOVES)
        self._reader, self._dead_letters, self._rules = reader, dead_letters, rules

    def opened(self, event: CleanEvent, result: BatchResult) -> Announcement | None:
        """What an event of the type ``move`` says; None, which is counted, for one of a rotation that was ended. Raises RecordError for
        what nobody sealed, and ConfigurationError without the key."""
        sealed = event["move"] or b""
        sealer = self._reader.of(sealed)
        if sealer is None:
            result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            return None
        return sealer.open("announcement", sealed, Announcement)

    def arrive(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """What comes from old pseudonyms, to the profiles under the new ones."""
        result = BatchResult()
        moves = self._decoded(batch, result)
        erased_key = erased_until_key(batch[0].partition)
        stored = dict(state.get_many([erased_key, *dict.fromkeys(move.new.encode() for move in moves)]))
        erased_until = load_erased_until(stored.pop(erased_key, None))
        profiles = {key.decode(): load_profile(data) for key, data in stored.items()}
        changed: set[str] = set()
        for move in moves:
            # Of whom nothing is known, nothing up to there is wanted, should it be read again.
            profile = profiles.setdefault(move.new, Profile(applied_offset=erased_until))
            has_changed, sent = arrive(profile, move, self._rules)
            if has_changed:
                changed.add(move.new)
            if sent is not None:
                result.outputs.append(self.output(sent))
        for pseudonym in changed:
            profile = profiles[pseudonym]
            result.state[pseudonym.encode()] = None if is_empty(profile) else dump_profile(profile)
        return result

    def output(self, move: ProfileMove) -> OutputRecord:
        """To the partition of the new pseudonym, which only its sealed part names."""
        sealer = self._reader.sealer
        if sealer is None:
            raise ConfigurationError("a profile is to be moved without moves.key; copy it from where `veilstream keys rotate` made it")
        value = self._codec.encode({"stage": _STAGE, "sealed": sealer.seal(_STAGE, move)})
        record_id = blake2b(f"{move.what} {move.old} {move.new}".encode(), digest_size=16, key=move.move_id, person=b"vs.move").digest()
        return OutputRecord(PRIVACY_MOVES, None, value, record_id, partition_key=move.new.encode())

    def _decoded(self, batch: Sequence[SourceRecord], result: BatchResult) -> list[ProfileMove]:
        moves = []
        for record in batch:
            try:
                value = cast(Moved, self._codec.decode(record.value, record.headers))
                sealer = self._reader.of(value["sealed"]) if value["stage"] == _STAGE else None
                if sealer is not None:
                    moves.append(sealer.open(_STAGE, value["sealed"], ProfileMove))
                elif value["stage"] == _STAGE:
                    result.dropped[_ENDED] = result.dropped.get(_ENDED, 0) + 1
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                result.rejected += 1
        return moves
