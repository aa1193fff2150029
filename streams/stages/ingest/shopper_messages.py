"""What the two kinds of messages about a shopper have in common: decisions on consent, and requests to forget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.clock import Clock
from streams.dead_letters.letters import DeadLetterBuilder, PositionIds
from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import Reason, RecordError
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import Codecs
from streams.serde.records import CleanEvent
from streams.stages.ingest.bare_event import bare
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.identities import Identities, Identity
from streams.stages.ingest.moves import Moves
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.times import floor_to
from streams.topics import BEHAVIOUR_CLEAN


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the ingest stage, which shares them."""

    codecs: Codecs
    consents: ConsentBook
    identities: Identities
    pseudonymizer: Pseudonymizer
    dead_letters: DeadLetterBuilder
    ids: PositionIds
    rules: IngestRules
    clock: Clock
    moves: Moves | None = None
    """While the pseudonym key is rotated."""

    def event(self, record: SourceRecord, identity: Identity, kind: str, received_ms: int) -> CleanEvent:
        """An event that stands for the message among the shopper's events."""
        event_id = self.pseudonymizer.position_id(record.topic, record.partition, record.offset)
        return bare(event_id, identity.pseudonym, b"", kind, floor_to(received_ms, self.rules.time_step_ms))

    def clean(self, record: SourceRecord, event: CleanEvent) -> OutputRecord:
        value = self.codecs.for_topic(BEHAVIOUR_CLEAN).encode(event)
        counts = ((event["event_type"],),)
        return OutputRecord(BEHAVIOUR_CLEAN, event["pseudonym"].encode(), value, self.ids.of(record), counts=counts)

    def received_ms(self, record: SourceRecord) -> int:
        """When a message was published; now, where its record has no time or one that is still to come."""
        now_ms = self.clock.now_ms()
        return record.timestamp if 0 < record.timestamp < now_ms else now_ms

    def refuse(self, record: SourceRecord, error: RecordError, result: BatchResult) -> None:
        """A dead letter. A message that is wrong says nothing of the producer's events: it does not count towards the bound on rejects."""
        result.outputs.append(self.dead_letters.build(record, error))
        result.rejected += 1
        result.excused += 1
        result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1


def subject_of(message: Mapping[str, Any], key: bytes | None) -> tuple[str, str | None]:
    """The user id and anonymous id of a message. Raises RecordError if the message's key is not what names the shopper: a shopper's
    messages would not keep their order."""
    user, anonymous = message["user_id"], message["anonymous_id"]
    named = user if user.strip() else anonymous or ""
    if key is None or key != named.encode("utf-8", "surrogatepass"):
        raise RecordError(Reason.KEY_MISMATCH, "the message key must be the user_id, or the anonymous_id where user_id is empty")
    return user, anonymous if not user.strip() else None
