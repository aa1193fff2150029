"""Decisions of shoppers on what may be done: from the shop's messages to what is in force, for every stage."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.privacy.consent import GATED, ConsentTable, Decision, in_force, refused_after
from streams.privacy.scrub import scrub
from streams.serde.records import Consent, ConsentDecision

MOST_PURPOSES = 32
_MOST_PURPOSES = 1_000
"""Of all shoppers together."""
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MOST_TEXT = 200


class Decided(NamedTuple):
    """What one message changes."""

    decisions: list[ConsentDecision]
    refused: list[str] | None
    """The gated purposes that are refused from now on; None where no decision on them is in force."""
    error: RecordError | None
    """Why a part of the message was not taken."""


class ConsentBook:
    """All decisions in force, followed from ``consent.decisions``.

    What this worker decides counts here at once, before it is written: an event that comes after a withdrawal meets it. A decision that
    is not written after all comes again with its message.
    """

    def __init__(
        self, codec: RecordCodec, table: ConsentTable, on_read: Callable[[int], object] | None = None, former_key_id: str | None = None
    ) -> None:
        """``on_read`` is told of every decision that is read from the topic, when its message was received: milliseconds.
        ``former_key_id``: of the old key, while the key is rotated: decisions under it are kept to be moved, some 300 bytes each."""
        self._former_prefix = None if former_key_id is None else former_key_id + "."
        self._former: dict[str, bytes] = {}
        """The records under old pseudonyms, by key."""
        self._read_back: set[str] = set()
        """Keys under new pseudonyms that the topic has."""
        self._moving: dict[str, str] = {}
        """Keys under new pseudonyms that this worker wrote, and those that they replace."""
        self._replaced: dict[str, tuple[str, int, int] | None] = {}
        """Keys that are replaced, and the record with which their removal was written."""
        self.table = table
        self.bad_records = 0
        """Records that could not be used."""
        self.catch_up: Callable[[], Awaitable[None]] = _nothing_to_wait_for
        """Waits until all that is written is known. Set by whoever follows the topic."""
        self._codec = codec
        self._purposes: set[str] = set(GATED)
        """All that anybody ever decided on."""
        self._on_read = on_read

    def refused(self, pseudonym: str, former: str = "") -> Sequence[str]:
        """The purposes that the shopper does not allow; what was decided under a former pseudonym counts as if it were under this one."""
        return self.table.refused(pseudonym, former)

    def moved(self, pseudonym: str, former: str) -> tuple[list[ConsentDecision], list[str]]:
        """The decisions under the former pseudonym that are to be written under this one, as they were; and the keys of those that are to
        be removed, since the topic has them under this one: a refusal is never in neither place."""
        moved: list[ConsentDecision] = []
        left: list[str] = []
        for purpose in sorted(self._purposes):
            value = self._former.get(f"{former}/{purpose}")
            if value is None:
                continue
            if f"{pseudonym}/{purpose}" in self._read_back:
                left.append(f"{former}/{purpose}")
                continue
            decision = cast(ConsentDecision, self._codec.decode(value))
            own = self.table.decision(pseudonym, purpose)
            self._moving[f"{pseudonym}/{purpose}"] = f"{former}/{purpose}"
            if own is None or own < Decision(decision["decided_at"], not decision["allowed"]):
                moved.append({**decision, "pseudonym": pseudonym})
        return moved, left

    def replaced(self, place: tuple[str, int, int]) -> list[str]:
        """Keys under former pseudonyms that can be removed, since the topic has what replaces them; written with the record at this place.
        The same for the same place, until the removal is read back."""
        keys = [key for key, written in self._replaced.items() if written in (None, place)]
        self._replaced.update(dict.fromkeys(keys, place))
        return keys

    def forget(self, pseudonym: str) -> list[str]:
        """As if the shopper had decided nothing; the keys of what the topic may hold of her decisions."""
        for purpose in self._purposes:
            self.table.forget(pseudonym, purpose)
            self._former.pop(f"{pseudonym}/{purpose}", None)
        return [f"{pseudonym}/{purpose}" for purpose in sorted(self._purposes)]

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch. Never raises for a record."""
        for record in records:
            key = (record.key or b"").decode("utf-8", "replace")
            pseudonym, _, purpose = key.rpartition("/")
            if record.value is None:
                self.table.forget(pseudonym, purpose)
                self._former.pop(key, None)
                self._read_back.discard(key)
                self._replaced.pop(key, None)
                continue
            try:
                value = cast(ConsentDecision, self._codec.decode(record.value, record.headers))
                decision = Decision(value["decided_at"], not value["allowed"])
            except RecordError:
                self.bad_records += 1
                continue
            if (value["pseudonym"], value["purpose"]) != (pseudonym, purpose) or decision.decided_ms < 0:
                self.bad_records += 1
                continue
            if len(self._purposes) < _MOST_PURPOSES:
                self._purposes.add(purpose)
            if in_force(self.table.decision(pseudonym, purpose), decision):
                self.table.decide(pseudonym, purpose, decision)
            if self._former_prefix is not None and pseudonym.startswith(self._former_prefix):
                self._former[key] = record.value
            elif self._former_prefix is not None:
                self._read_back.add(key)
                former = self._moving.pop(key, None)
                if former is not None and former in self._former:
                    self._replaced[former] = None
            if self._on_read is not None:
                self._on_read(value["received_at"])

    def decide(self, message: Consent, pseudonym: str, received_ms: int, max_future_ms: int, former: str = "") -> Decided:
        """Which of a message's decisions are in force, where those under a former pseudonym count, too. Raises RecordError where the
        message as a whole is none.

        A refusal that comes from the future counts from the moment at which it was received, and after what it follows by the shop's own
        times: where this worker's clock is behind, a withdrawal is no less one. An agreement from the future is not taken.
        """
        _check(message)
        policy_version, source = _text(message["policy_version"]), _text(message["source"])
        decisions: list[ConsentDecision] = []
        error: RecordError | None = None
        gated: dict[str, bool] = {}
        before = self.table.refused(pseudonym, former)
        for purpose, allowed in message["purposes"].items():
            decided_ms = message["updated_at"]
            known = [one for name in (pseudonym, former) if name and (one := self.table.decision(name, purpose)) is not None]
            if decided_ms > received_ms + max_future_ms:
                if allowed:
                    error = RecordError(Reason.TIME_IN_FUTURE, "updated_at lies in the future: what it allows is not taken")
                    continue
                decided_ms = min(decided_ms, max(received_ms, *(one.decided_ms for one in known), 0))
            decision = Decision(decided_ms, not allowed)
            if purpose in GATED:
                if not all(in_force(one, decision) for one in known):
                    continue
                self.table.decide(pseudonym, purpose, decision)
                gated[purpose] = allowed
            elif len(self._purposes) < _MOST_PURPOSES:
                self._purposes.add(purpose)
            elif purpose not in self._purposes:
                error = RecordError(Reason.BAD_CONSENT, f"decisions on {_MOST_PURPOSES} purposes are kept, and this is another one")
                continue
            decisions.append(
                ConsentDecision(
                    pseudonym=pseudonym,
                    purpose=purpose,
                    allowed=allowed,
                    decided_at=decided_ms,
                    policy_version=policy_version,
                    source=source,
                    received_at=received_ms,
                )
            )
        return Decided(decisions, refused_after(before, gated) if gated else None, error)


async def _nothing_to_wait_for() -> None:
    """Where nobody else decides."""


def _check(message: Consent) -> None:
    purposes = message["purposes"]
    if not purposes or len(purposes) > MOST_PURPOSES:
        raise RecordError(Reason.BAD_CONSENT, f"purposes must name 1 to {MOST_PURPOSES} purposes")
    if not all(map(_PURPOSE.fullmatch, purposes)):
        raise RecordError(Reason.BAD_CONSENT, "a purpose is 1 to 64 of a-z, 0-9, _ . and -, and does not begin with one of the last three")
    if message["updated_at"] < 0:
        raise RecordError(Reason.BAD_TIME, "updated_at lies before 1970")
    for name, text in (("policy_version", message["policy_version"]), ("source", message["source"])):
        if text is not None and len(text) > _MOST_TEXT:
            raise RecordError(Reason.BAD_CONSENT, f"{name} is longer than {_MOST_TEXT} characters")


def _text(text: str | None) -> str | None:
    return None if text is None else scrub(text)[0]
