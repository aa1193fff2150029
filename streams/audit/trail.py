"""What a stage does with its records, as audit links: a chain per source partition, whose head lies in the partition's own state.

How a handler uses it, once a batch::

    page = self._trail.open(batch, state)
    page.append(record, "erased", subject=pseudonym, details={"request": request_id})     # for each thing that is done
    page.close(result)                                                                      # last, when the result is complete

After a crash the records come again, and so do the links, to the byte: the signature is deterministic, the time is the record's, the
order that of the offsets. The engine leaves out those that are in the topic already, by their ids. This holds if what is appended for a
record follows from the record and the state, never from a clock, from where a batch ends, or from another source. So a timer can't append.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from nacl.signing import SigningKey

from streams.audit.chain import ChainId, Head, next_link
from streams.engine.ports import RecordCodec
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import ConfigurationError
from streams.topics import PRIVACY_AUDIT

HEADS = b"\0audit\0"
"""Begins the keys of a stage's table under which heads of chains are kept: no pseudonym and no item id begins so."""

_VERSION = b"\x01"
_RECORD_ID_BYTES = 16


class Page(Protocol):
    """The links of one batch."""

    def append(
        self,
        record: SourceRecord,
        action: str,
        subject: str | None = None,
        details: Mapping[str, str] | None = None,
        at_ms: int | None = None,
    ) -> None:
        """One thing done because of a record of the batch, in any order of them. ``subject`` is a pseudonym or a version, ``details``
        hold no raw identity; ``at_ms`` is the record's own time unless it is given."""
        ...

    def close(self, result: BatchResult) -> None:
        """Puts the links and the chain's new head into the result; nothing is put into the result's state after that. Raises ValueError for
        what ``next_link`` refuses."""
        ...


class Trail(Protocol):
    def open(self, batch: Sequence[SourceRecord], state: StateView) -> Page:
        """For one batch, before anything is appended. Raises ConfigurationError for a head that another version wrote."""
        ...


def is_head(key: bytes) -> bool:
    """Whether a key of a stage's table is the audit's: whoever goes through all of a partition's state leaves it out."""
    return key.startswith(HEADS)


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    """A chain's head as the state holds it."""

    chain: str
    sequence: int
    hash: bytes
    offset: int
    """Of the last record that was appended for."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Kept)


class StageTrail:
    """The Trail of one stage, for all of its partitions."""

    def __init__(self, stage: str, key: SigningKey, codec: RecordCodec, *, topic_prefix: str = "", step_ms: int = 1) -> None:
        """Times are rounded down to ``step_ms``: where a source names people, an exact time would join a pseudonym to its record there."""
        self._stage = stage
        self._signing_key = key
        self._codec = codec
        self._prefix = topic_prefix
        self._step_ms = step_ms

    def open(self, batch: Sequence[SourceRecord], state: StateView) -> Page:
        topic = batch[0].topic.removeprefix(self._prefix)
        state_key = HEADS + topic.encode()
        data = state.get_many([state_key]).get(state_key)
        return _Links(self, f"{topic}/{batch[0].partition}", state_key, _load(data))

    def written(
        self, source: str, kept: _Kept | None, waiting: Sequence[tuple[SourceRecord, str, str | None, Mapping[str, str], int]]
    ) -> tuple[list[OutputRecord], bytes]:
        """The outputs of what was appended, in the order of the offsets, and the head after them."""
        ordered = sorted(waiting, key=lambda one: one[0].offset)
        # A chain has the name of its first record: where a state was lost, a new chain begins and no number is given twice.
        chain = kept.chain if kept is not None else f"{source}@{ordered[0][0].offset}"
        head = Head(kept.sequence, kept.hash) if kept is not None else Head()
        outputs = []
        for _, action, subject, details, at_ms in ordered:
            link = next_link(
                head,
                ChainId(self._stage, chain),
                self._signing_key,
                action=action,
                subject=subject,
                details=details,
                at_ms=at_ms - at_ms % self._step_ms,
            )
            head = link.head
            # An id by content: one by position would join the link to a raw record.
            outputs.append(OutputRecord(PRIVACY_AUDIT, self._stage.encode(), self._codec.encode(link.record), head.hash[:_RECORD_ID_BYTES]))
        return outputs, _VERSION + _encoder.encode(_Kept(chain, head.sequence, head.hash, ordered[-1][0].offset))


class _Links:
    """The Page of a StageTrail."""

    def __init__(self, trail: StageTrail, source: str, state_key: bytes, kept: _Kept | None) -> None:
        self._trail = trail
        self._source = source
        self._state_key = state_key
        self._kept = kept
        self._waiting: list[tuple[SourceRecord, str, str | None, Mapping[str, str], int]] = []

    def append(
        self,
        record: SourceRecord,
        action: str,
        subject: str | None = None,
        details: Mapping[str, str] | None = None,
        at_ms: int | None = None,
    ) -> None:
        # The head is the first of a batch's state to be written, and its links are written before any state: they are in the topic.
        if self._kept is None or record.offset > self._kept.offset:
            self._waiting.append((record, action, subject, details or {}, record.timestamp if at_ms is None else at_ms))

    def close(self, result: BatchResult) -> None:
        if not self._waiting:
            return
        outputs, head = self._trail.written(self._source, self._kept, self._waiting)
        result.outputs += outputs
        # First: of a state that is written in part only, a beginning is there. Were the head missing from it, a record that the rest of the
        # state already knows would not be appended again, and the next link would take its number.
        result.state = {self._state_key: head, **result.state}
        self._waiting = []


class NoTrail:
    """For a stage whose audit nobody reads (backtest, tests): appends nothing."""

    def open(self, batch: Sequence[SourceRecord], state: StateView) -> Page:
        return self

    def append(
        self,
        record: SourceRecord,
        action: str,
        subject: str | None = None,
        details: Mapping[str, str] | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Nothing."""

    def close(self, result: BatchResult) -> None:
        """Nothing."""


def _load(data: bytes | None) -> _Kept | None:
    if data is None:
        return None
    try:
        if data[:1] == _VERSION:
            return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the head of an audit chain in the state is damaged; delete the stage's local state, it is rebuilt"
        ) from error
    raise ConfigurationError("the head of an audit chain is of another version of veilstream; use that one, or delete the stage's state")
