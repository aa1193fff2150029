"""Steps 3 and 4 of a take-over (see ``checkpoint``): where a source partition goes on, and what of it is written already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from streams.engine.checkpoint_ports import Log
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import Where
from streams.engine.positions import CommitNote, Positions, encode_note
from streams.engine.resume import Bounds, GroupCommit, Seen, Start, fresh_base, needs_all_outputs, start_of
from streams.engine.source_progress import SourceProgress
from streams.engine.stamps import seen_in
from streams.errors import GroupPositionLost

log = logging.getLogger(__name__)

RENEW_AFTER_RECORDS = 10_000
"""Committed positions of outputs are renewed when the outputs have moved on by this much, so that a later take-over reads a short tail."""


class Beginning(NamedTuple):
    progress: SourceProgress
    written: set[tuple[str, bytes]]
    """Topic and record id of outputs that its uncommitted records may cause again."""
    first_commit: GroupCommit | None
    """To be made before anything is written: nothing was committed, or offsets begin anew."""


class Beginnings:
    """Of the source topics of one partition number. ``lookup_most`` bounds how many outputs are looked at where no commit says from where
    on to look."""

    def __init__(
        self,
        topics: Log,
        *,
        stage: str,
        partition: int,
        tag: bytes,
        metrics: StageMetrics,
        now_s: Callable[[], float],
        lookup_most: int,
    ) -> None:
        self._log = topics
        self._stage = stage
        self._partition = partition
        self._tag = tag
        self._metrics = metrics
        self._now_s = now_s
        self._lookup_most = lookup_most

    async def find(self, topic: str, reachable: Sequence[Where], others: Sequence[str] = ()) -> Beginning:
        """``reachable``: the output partitions that its records can cause anything in; ``others``: the stage's other sources. Raises
        TransientError, or GroupPositionLost."""
        commit = await self._log.committed(topic, self._partition)
        bounds = await self._log.bounds(topic, self._partition)
        incarnation = await self._log.incarnation(topic)
        first, ends = await self._log.output_bounds(reachable)
        if commit is None and bounds.begin == bounds.end and first != ends and await self._any_committed(others):
            return self._joining(bounds, incarnation, ends)
        seen = await self._all_outputs(topic, incarnation, first, ends) if needs_all_outputs(commit) else None
        start = start_of(commit, bounds, incarnation, seen, self._now_s())
        moved = 0
        if seen is not None:
            written = set(seen.ids)
            positions = {where: first[where] for where in reachable} if written else ends
        else:
            positions = dict(start.positions or {})
            begins = {where: max(positions.get(where, first[where]), first[where]) for where in reachable}
            written = set().union(*(await self._log.stamps(begins, ends, self._tag)).values())
            # Where nothing of this partition was found, nothing of it can be before the end: a topic that others write need not be
            # looked through again each time.
            has_some = {topic for topic, _ in written}
            positions |= {where: ends[where] for where in reachable if where[0] not in has_some}
            moved = max((positions[where] - begin for where, begin in begins.items() if where in positions), default=0)
        self._tell(topic, start, len(written), is_known=seen is None)
        progress = _progress(start, bounds, incarnation, positions)
        is_committed = commit is not None and not start.is_anew and start.offset == commit.offset and seen is None
        if commit is not None and is_committed and moved < RENEW_AFTER_RECORDS:
            progress.committed = commit.offset
            return Beginning(progress, written, None)
        note = CommitNote(positions, start.base, incarnation)
        return Beginning(progress, written, GroupCommit(start.offset, encode_note(note)))

    async def _any_committed(self, topics: Sequence[str]) -> bool:
        return any([await self._log.committed(topic, self._partition) is not None for topic in topics])

    def _joining(self, bounds: Bounds, incarnation: int, ends: Positions) -> Beginning:
        """Of an empty source that joins others, as when a new version of the stage has one more: no record is there that could cause
        anything again, so no output is looked at, however many there are. Its offsets go on after all that its name can ever have had."""
        base = fresh_base(self._now_s(), 0)
        progress = _progress(Start(bounds.end, base, ends), bounds, incarnation, ends)
        return Beginning(progress, set(), GroupCommit(bounds.end, encode_note(CommitNote(ends, base, incarnation))))

    async def _all_outputs(self, topic: str, incarnation: int, first: Positions, ends: Positions) -> Seen:
        total = sum(ends[where] - first[where] for where in ends)
        if total > self._lookup_most:
            raise GroupPositionLost(
                f"the group has no offset of {topic}/{self._partition} that this product made, and its outputs hold {total}, too "
                "many to find out what is written already; raise VEILSTREAM_LOOKUP_MAX_RECORDS (some 150 bytes of memory each), or let "
                "the stage begin anew under another VEILSTREAM_APP_PREFIX and VEILSTREAM_TOPIC_PREFIX"
            )
        return seen_in(await self._log.stamps(first, ends, self._tag), incarnation)

    def _tell(self, topic: str, start: Start, written: int, *, is_known: bool) -> None:
        where = f"{topic}/{self._partition}"
        if written and is_known:
            log.info("%s: took over %s; %d outputs are already written", self._stage, where, written)
        elif written:
            log.warning(
                "%s: the group has no position of %s, though %d outputs of it are written; they will not be written again",
                self._stage, where, written,
            )  # fmt: skip
        if start.lost:
            self._metrics.lost_to_retention(topic, self._partition, start.lost)
            log.error("%s: %d records of %s were deleted by retention before they were read", self._stage, start.lost, where)
        if start.truncated:
            log.error("%s: %s ends %d records before what was committed: the broker has lost them", self._stage, where, start.truncated)
        if start.is_anew:
            log.warning("%s: %s was made anew; its offsets go on after the old ones", self._stage, where)


def _progress(start: Start, bounds: Bounds, incarnation: int, positions: Positions) -> SourceProgress:
    return SourceProgress(
        next_offset=start.offset + start.base,
        base=start.base,
        incarnation=incarnation,
        settled_at=bounds.end + start.base,
        positions=positions,
    )
