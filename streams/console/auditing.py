"""Checks the audit's chains as they grow, with the public keys that the keys folder has (docs/audit.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from nacl.signing import VerifyKey

from streams.audit.verifier import Verifier
from streams.clock import Clock
from streams.console.privacy import MeasuredCrowds
from streams.console.view import Audit
from streams.engine.records import SourceRecord
from streams.serde.codec import Codec


class AuditCheck:
    """Takes the records of ``privacy.audit``. It names no record and no subject: `veilstream audit verify` does."""

    def __init__(self, codec: Codec, keys: Mapping[str, Sequence[VerifyKey]], clock: Clock) -> None:
        """``keys`` may be empty: then nothing is checked, and the view says so."""
        self._codec, self._keys, self._clock = codec, keys, clock
        self.measured = MeasuredCrowds()
        self._checked_at: int | None = None
        self.begin()

    def begin(self) -> None:
        """The topic is read from its beginning."""
        self._verifier = Verifier(self._codec, self._keys, on_link=lambda link, record: self.measured.take(link))

    async def take(self, records: Sequence[SourceRecord]) -> None:
        if self._keys:
            for record in records:
                await self._codec.prepare(record.value)
            # 120 µs a link: not on the loop that answers browsers.
            await asyncio.to_thread(self._check, self._verifier, records)

    def _check(self, verifier: Verifier, records: Sequence[SourceRecord]) -> None:
        for record in records:
            verifier.look_at_anchors(record)
            verifier.take(record)
        self._checked_at = self._clock.now_ms()

    def view(self, unread: int, *, is_read: bool) -> Audit:
        """``is_read``: the topic could be read to its end just now."""
        verifier = self._verifier
        if not self._keys:
            state = "keys"
        elif verifier.counts:
            state = "wrong"
        elif not is_read:
            state = "waiting"
        else:
            state = "reading" if unread else "right"
        checked_at = self._clock.now_ms() if state == "right" else self._checked_at
        wrong = {str(what): count for what, count in sorted(verifier.counts.items())}
        return Audit(state, checked_at, verifier.links, len(verifier.heads()), wrong, unread)
