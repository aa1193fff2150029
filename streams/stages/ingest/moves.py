"""Announces, once for each shopper, that her old pseudonym has a new one: while the pseudonym key is rotated.

An announcement is an event of nobody in the partition of the old pseudonym, so it comes after all that is there of her. What it says is
sealed. The memory of who was announced is the worker's own: after a restart or a take-over a shopper is announced again, which changes
nothing but where a worker with the old key wrote something of her meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from streams.dead_letters.letters import PositionIds
from streams.engine.ports import RecordCodec
from streams.engine.records import OutputRecord, SourceRecord
from streams.privacy.consent import GATED
from streams.privacy.moves import Announcement, MovesSealer
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.records import MOVE, NOBODY
from streams.stages.ingest.bare_event import bare
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.identities import Identity
from streams.stages.ingest.times import floor_to
from streams.topics import BEHAVIOUR_CLEAN, CONSENT_DECISIONS

SHOPPERS_KEPT = 200_000


class Moves:
    """Of one ingest worker in an overlap."""

    def __init__(
        self,
        sealer: MovesSealer,
        former: Pseudonymizer,
        clean: RecordCodec,
        decisions: RecordCodec,
        consents: ConsentBook | None,
        record_key: bytes,
        bucket_ms: int,
        kept: int = SHOPPERS_KEPT,
    ) -> None:
        self.former = former
        self._sealer, self._clean, self._decisions, self._consents = sealer, clean, decisions, consents
        self._ids = PositionIds("move/", record_key)
        self._bucket_ms, self._kept = bucket_ms, kept
        self._announced: OrderedDict[str, tuple[str, int, int]] = OrderedDict()
        """By new pseudonym, the record that made it known."""

    def begin_anew(self) -> None:
        """Another worker, perhaps with the old key alone, may have written meanwhile."""
        self._announced.clear()

    def seen(self, identity: Identity, record: SourceRecord, line: int = 0) -> list[OutputRecord]:
        """What to write when a shopper shows up: the announcement, and her decisions on consent under the new pseudonym. Nothing if another
        record brought that already; a record that comes again gets the same answer."""
        place = (record.topic, record.partition, record.offset)
        if not identity.former or self._announced.get(identity.pseudonym, place) != place:
            return []
        self._announced[identity.pseudonym] = place
        if len(self._announced) > self._kept:
            self._announced.popitem(last=False)
        return [self._announce(identity, record, line), *self._decided(identity, record, line)]

    def removals(self, record: SourceRecord) -> list[OutputRecord]:
        """What of old decisions can be removed now, with the first record of a batch."""
        if self._consents is None:
            return []
        keys = self._consents.replaced((record.topic, record.partition, record.offset))
        return [OutputRecord(CONSENT_DECISIONS, key.encode(), None, _id(self._ids.of(record), "replaced", key)) for key in keys]

    def handed_over(self, anonymous: Identity, user: Identity, record: SourceRecord, line: int) -> list[OutputRecord]:
        """A browser turns out to be a user: what was kept under its old pseudonym goes to hers, and so does what went to its new one."""
        return [*self.seen(user, record, line), self._announce(anonymous, record, line, what="hand_over", to=user.pseudonym)]

    def refused(self, identity: Identity, record: SourceRecord, refused: Sequence[str], received_ms: int) -> list[OutputRecord]:
        """A shopper allows something no longer: what was kept under the old pseudonym goes nowhere."""
        told = self._announce(identity, record, what="forget", refused=tuple(p for p in GATED if p in refused), received_ms=received_ms)
        return [told, *self.seen(identity, record)[1:]]

    def erased(
        self, identity: Identity, record: SourceRecord, item_id: str | None, request_id: str, received_ms: int
    ) -> list[OutputRecord]:
        """A shopper, or what has to do with one item, is to be forgotten under the old pseudonym as under the new one."""
        before = [] if item_id is None else self.seen(identity, record)
        told = self._announce(identity, record, what="forget", item_id=item_id, request_id=request_id, received_ms=received_ms)
        return [*before, told]

    def _announce(self, identity: Identity, record: SourceRecord, line: int = 0, **said: object) -> OutputRecord:
        what = str(said.get("what", "move"))
        move_id = _id(self._ids.of(record, line), what, identity.pseudonym)
        message = Announcement(move_id, **{"what": "move", "old": identity.former, "new": identity.pseudonym, **said})  # type: ignore[arg-type]
        event = bare(move_id.hex(), NOBODY + move_id.hex(), b"", MOVE, floor_to(max(record.timestamp, 0), self._bucket_ms))
        event["move"] = self._sealer.seal("announcement", message)
        key = event["pseudonym"].encode()
        return OutputRecord(
            BEHAVIOUR_CLEAN, key, self._clean.encode(event), move_id, partition_key=identity.former.encode(), counts=((MOVE,),)
        )

    def _decided(self, identity: Identity, record: SourceRecord, line: int) -> list[OutputRecord]:
        if self._consents is None:
            return []
        moved, left = self._consents.moved(identity.pseudonym, identity.former)
        begin = self._ids.of(record, line)
        outputs = []
        for decision in moved:
            key = f"{decision['pseudonym']}/{decision['purpose']}"
            outputs.append(OutputRecord(CONSENT_DECISIONS, key.encode(), self._decisions.encode(decision), _id(begin, key)))
        return [*outputs, *(OutputRecord(CONSENT_DECISIONS, key.encode(), None, _id(begin, key)) for key in left)]


def _id(*parts: bytes | str) -> bytes:
    text = b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return blake2b(text, digest_size=16, person=b"vs.move").digest()
