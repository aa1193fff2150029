"""A bound on the share of refused records: a stage that refuses most of what it reads is misconfigured, not unlucky."""

from __future__ import annotations

from collections import deque

from streams.errors import TooManyRejects


class RejectGuard:
    """Watches the share of refused records over at least the last ``window`` records.

    It judges only once it has seen a whole window, so that a few bad records on a quiet topic stop nothing.
    """

    def __init__(self, max_share: float, window: int) -> None:
        self._max_share = max_share
        self._window = window
        self._batches: deque[tuple[int, int]] = deque()
        self._rejected = 0
        self._total = 0

    def observe(self, rejected: int, total: int) -> None:
        """Count a batch. Raises TooManyRejects where the share passes its bound."""
        self._batches.append((rejected, total))
        self._rejected += rejected
        self._total += total
        while self._batches and self._total - self._batches[0][1] >= self._window:
            old_rejected, old_total = self._batches.popleft()
            self._rejected -= old_rejected
            self._total -= old_total
        if self._total >= self._window and self._rejected > self._max_share * self._total:
            raise TooManyRejects(
                f"{self._rejected} of the last {self._total} records were refused, more than the share of {self._max_share:g}; "
                "look at their reasons (`veilstream watch behaviour.dead-letter`), mend the producer, or raise VEILSTREAM_REJECT_SHARE_MAX"
            )
