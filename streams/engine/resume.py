"""Where to begin with a newly assigned source partition: one pure decision.

=====================================  ======================================================================================
what the group's commit says           what is done
=====================================  ======================================================================================
an offset, and this product's note     continue there; outputs are looked up from the note's positions on
an offset before the log's start       records were lost to retention: count and log them; continue at the start
an offset past the log's end           the log was truncated, or the topic was recreated: the latter if the note's incarnation,
                                       or a broker that tells none, says so
a note of another incarnation          the topic was recreated: its offsets continue after the old ones (``base``)
an offset without a note               an operator moved the group: all outputs are looked up
nothing                                fresh, or the group's offsets are lost: all outputs are looked up
=====================================  ======================================================================================
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from streams.engine.positions import CommitNote, Positions, decode_note

_FIRST_SECOND = 1_577_836_800
"""2020-01-01."""
_BASE_BITS = 34
"""A partition's offsets stay below 17 billion; minutes since 2020 above them fit into 62 bits for five centuries."""


class GroupCommit(NamedTuple):
    """A group's commit as the coordinator tells it."""

    offset: int
    metadata: str


class Bounds(NamedTuple):
    """The offsets that a source partition holds: of the first record, and after the last one that may be read."""

    begin: int
    end: int


class Seen(NamedTuple):
    """What of this partition is in the outputs, looked up from their very beginning."""

    ids: frozenset[tuple[str, bytes]] | set[tuple[str, bytes]]
    """Written for the topic as it is now."""
    base: int
    """The base of their offsets."""
    base_of_others: int = -1
    """The largest base of outputs that were written for earlier topics of the same name. -1: there are none."""


class Start(NamedTuple):
    """Where to begin."""

    offset: int
    """To fetch next, as the topic counts."""
    base: int
    positions: Positions | None
    """From where on outputs are looked up; None: from their beginning."""
    lost: int = 0
    """Records that are gone unread."""
    truncated: int = 0
    """Offsets that were committed and that the log no longer has."""
    is_anew: bool = False
    """The topic was made anew."""


def incarnation_of(topic_id: bytes) -> int:
    """A number for one of the topics that ever had a name; 0 if the broker tells no ids.

    >>> incarnation_of(bytes(16))
    0
    """
    return (crc32(topic_id) or 1) if any(topic_id) else 0


def fresh_base(now_s: float, before: int) -> int:
    """A base above every offset that was ever counted with the one ``before``, and all bases before that."""
    return max(1, int(now_s - _FIRST_SECOND) // 60, (before >> _BASE_BITS) + 1) << _BASE_BITS


def needs_all_outputs(commit: GroupCommit | None) -> bool:
    """Whether the commit does not say from where on the outputs must be looked up."""
    return commit is None or decode_note(commit.metadata) is None


def start_of(commit: GroupCommit | None, bounds: Bounds, incarnation: int, seen: Seen | None, now_s: float) -> Start:
    """``seen`` is needed where ``needs_all_outputs``.

    >>> start_of(None, Bounds(3, 9), 0, Seen(set(), 0), 0)
    Start(offset=3, base=0, positions=None, lost=0, truncated=0, is_anew=False)
    """
    begin, end = bounds
    note = decode_note(commit.metadata) if commit is not None else None
    if commit is None or note is None:
        found = seen if seen is not None else Seen(frozenset(), 0)
        is_anew = found.base_of_others >= 0 and not found.ids
        base = fresh_base(now_s, found.base_of_others) if is_anew else found.base
        if commit is None or is_anew:
            return Start(begin, base, None, is_anew=is_anew)
        return _within(commit.offset, begin, end, CommitNote({}, base), None)
    is_other = bool(incarnation and note.incarnation and note.incarnation != incarnation)
    if is_other or (commit.offset > end and not (incarnation and note.incarnation)):
        return Start(begin, fresh_base(now_s, note.base), note.positions, is_anew=True)
    return _within(commit.offset, begin, end, note, note.positions)


def _within(offset: int, begin: int, end: int, note: CommitNote, positions: Positions | None) -> Start:
    if offset < begin:
        return Start(begin, note.base, positions, lost=begin - offset)
    if offset > end:
        return Start(end, note.base, positions, truncated=offset - end)
    return Start(offset, note.base, positions)
