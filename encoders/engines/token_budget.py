"""How many positions one pass may have, halved wherever memory runs out."""

from __future__ import annotations

from threading import Lock


class TokenBudget:
    """Shared by the lanes of an engine. It never rises again: what did not fit once is not tried twice."""

    def __init__(self, tokens: int, *, least: int) -> None:
        """It is not halved below ``least``, the positions of one row of the greatest width."""
        self._tokens = tokens
        self._least = least
        self._lock = Lock()

    @property
    def tokens(self) -> int:
        return self._tokens

    def halve(self, positions: int) -> bool:
        """After a pass of so many positions did not fit: whether there is now a smaller one to try.

        Lanes that fail together halve it once, not once each.
        """
        with self._lock:
            if self._tokens < positions:
                return True
            if self._tokens <= self._least:
                return False
            self._tokens = max(self._least, positions // 2)
            return True
