"""The chain of one run of a process: a worker that started with which settings and keys, a command and what it did."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from nacl.signing import SigningKey

from streams.audit.anchors import RUN
from streams.audit.auditors import Auditor
from streams.audit.chain import ChainId, Head, next_link
from streams.clock import Clock
from streams.engine.ports import RecordCodec
from streams.errors import TransientError

Write = Callable[[bytes, bytes], Awaitable[None]]
"""Writes a key and a value to the topic. Raises TransientError where it is not known whether it is there."""


class RunLog:
    """Appends to the chain of this run, one link after the other."""

    def __init__(self, auditor: Auditor, key: SigningKey, codec: RecordCodec, write: Write, clock: Clock) -> None:
        self._auditor = auditor
        self._key = key
        self._codec = codec
        self._write = write
        self._clock = clock
        self._head = Head()
        self._before: ChainId | None = None
        self._lock = asyncio.Lock()
        self.chain = self._new_chain()

    async def append(self, action: str, subject: str | None = None, details: Mapping[str, str] | None = None) -> None:
        """Returns when the broker has the link. Raises TransientError if it does not acknowledge it, ValueError as ``next_link`` does."""
        async with self._lock:
            shown = dict(details or {})
            if self._before is not None:
                shown["after"] = str(self._before)
            link = next_link(self._head, self.chain, self._key, action=action, subject=subject, details=shown, at_ms=self._clock.now_ms())
            try:
                await self._write(self._auditor.encode(), self._codec.encode(link.record))
            except TransientError:
                # It may be there or not: a link after it, or in its place, could break the chain. The next one begins another.
                self._before, self._head, self.chain = self.chain, Head(), self._new_chain()
                raise
            self._head, self._before = link.head, None

    def _new_chain(self) -> ChainId:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self._clock.now_ms())
        return ChainId(self._auditor, f"{RUN}{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}")
