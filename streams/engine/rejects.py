"""Limits the share of refused records. A stage that refuses most of its input is probably misconfigured, so it stops."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from types import MappingProxyType

from streams.errors import TooManyRejects

log = logging.getLogger(__name__)

_REASONS_NAMED = 3
_NO_REASONS: Mapping[str, int] = MappingProxyType({})


class RejectGuard:
    """Limits the share of refused records among the last ``window`` records, and up to a batch more.

    It decides only after a whole window. So a few bad records on a quiet topic, or at the start of a worker, do not stop the stage.
    They are in the dead-letter topic and can be recovered; a stop would not help.

    >>> guard = RejectGuard(max_share=0.5, window=4)
    >>> guard.observe(3, 3)
    >>> guard.observe(0, 3)
    """

    def __init__(self, max_share: float, window: int, *, stops: bool = True) -> None:
        """With ``stops`` False it only says so, once each time that the share passes its bound: what strangers send must not stop what
        others send."""
        self._stops = stops
        self._is_over = False
        self._max_share = max_share
        self._window = window
        self._batches: deque[tuple[int, int, Mapping[str, int]]] = deque()
        self._rejected = 0
        self._total = 0

    def observe(self, rejected: int, total: int, reasons: Mapping[str, int] = _NO_REASONS) -> None:
        """Count a batch: records refused, all its records, and how many were refused for which reason.

        Raises TooManyRejects where the share passes its bound.
        """
        self._batches.append((rejected, total, reasons))
        self._rejected += rejected
        self._total += total
        while self._total - self._batches[0][1] >= self._window:
            old_rejected, old_total, _ = self._batches.popleft()
            self._rejected -= old_rejected
            self._total -= old_total
        is_over = self._total >= self._window and self._rejected > self._max_share * self._total
        if is_over and self._stops:
            raise TooManyRejects(f"{self._told()}, or raise VEILSTREAM_REJECT_SHARE_MAX")
        if is_over and not self._is_over:
            log.error("%s; the rest goes on", self._told())
        self._is_over = is_over

    def _told(self) -> str:
        return (
            f"{self._rejected} of the last {self._total} records were refused{self._most_frequent()}, "
            f"more than the share of {self._max_share:g} over at least {self._window} records; look at them "
            "(`veilstream watch behaviour.dead-letter`) and fix their producer"
        )

    def _most_frequent(self) -> str:
        counts: Counter[str] = Counter()
        for _, _, reasons in self._batches:
            counts.update(reasons)
        named = ", ".join(f"{reason} {count}" for reason, count in counts.most_common(_REASONS_NAMED))
        return f" ({named})" if named else ""
