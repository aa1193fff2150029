"""Notices a partition that has work and does not get on."""

from __future__ import annotations

from collections.abc import Hashable

_MOST_TRIES = 5


class Watchdog:
    """Compares what it is shown with what it was shown last time."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, int]] = {}

    def stands_still(self, partition: Hashable, *, at_rest: bool, progress: tuple[int | None, int], end: int) -> bool:
        """Whether nothing is being worked on, the partition's end is not committed, and neither what is applied nor what is committed
        (``progress``) has moved since the last look.

        After a few times without effect it is left alone until it moves: control records at the end of a partition are
        nothing that could be applied.
        """
        if not at_rest or progress[1] >= end:
            self._seen.pop(partition, None)
            return False
        before, tries = self._seen.get(partition, (None, 0))
        if before != progress:
            self._seen[partition] = (progress, 0)
            return False
        self._seen[partition] = (progress, tries + 1)
        return tries < _MOST_TRIES
