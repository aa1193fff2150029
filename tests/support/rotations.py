"""A rotation of the pseudonym key: keys, sealers, and announcements as ingest makes them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from streams.engine.records import MemoryRecord, OutputRecord
from streams.privacy.keys import MovesKey, PseudonymKey
from streams.privacy.moves import Announcement, MovesReader, MovesSealer
from streams.privacy.pseudonym import Pseudonymizer
from streams.topics import BEHAVIOUR_CLEAN, PRIVACY_MOVES
from tests.support.profile_harness import CODECS, START_MS, event

SEALER = MovesSealer(MovesKey("k2", bytes(range(32))))
READER = MovesReader(SEALER)
OLD = Pseudonymizer(PseudonymKey("k1", b"k" * 32))
NEW = Pseudonymizer(PseudonymKey("k2", b"n" * 32, OLD.record_key))


def said(number: int, what: str, who: str, **more: Any) -> Announcement:
    """Of the shopper ``k1.<who>``, who is ``k2.<who>`` from now on."""
    move_id = blake2b(b"move %d" % number, digest_size=16).digest()
    return Announcement(move_id, what, f"k1.{who}", f"k2.{who}", **more)  # type: ignore[arg-type]


def announcement(number: int, what: str, who: str, **more: Any) -> dict[str, Any]:
    """The CleanEvent that says so."""
    message = said(number, what, who, **more)
    name = message.move_id.hex()
    return event(number, "", "move") | {
        "event_id": name,
        "pseudonym": f"nobody.{name}",
        "sealed_id": b"",
        "move": SEALER.seal("announcement", message),
    }


def move_records(outputs: list[OutputRecord], *, first: int = 0, partition: int = 0) -> list[MemoryRecord]:
    """What was handed over among the outputs, as it is read back."""
    found = [output for output in outputs if output.topic == PRIVACY_MOVES]
    return [MemoryRecord(PRIVACY_MOVES, partition, offset, START_MS, None, o.value) for offset, o in enumerate(found, start=first)]


def clean_values(outputs: list[OutputRecord]) -> list[dict[str, Any]]:
    return [CODECS.for_topic(BEHAVIOUR_CLEAN).decode(output.value) for output in outputs if output.topic == BEHAVIOUR_CLEAN]
