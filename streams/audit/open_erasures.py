"""Which requests to forget a shopper not all stages have receipted yet, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.audit.actions import ERASED
from streams.serde.records import Forgotten

RECEIPTS = frozenset({"profile", "feedback", "trainer"})
"""Who writes a link ``erased`` for each request."""
_FORGET_AFTER_MS = 40 * 86_400_000
"""Longer than privacy.forgotten holds a request."""

Request = tuple[str, str]
"""Pseudonym and the shop's id of the request."""


class OpenErasures:
    """Takes requests and receipts in any order, each as often as they come.

    A receipt counts as it stands in the topic: whether it was forged tells `veilstream audit verify`.
    """

    def __init__(self) -> None:
        self._asked: dict[Request, int] = {}
        self._receipts: dict[Request, tuple[int, set[str]]] = {}

    def take_request(self, request: Forgotten) -> None:
        """A record of privacy.forgotten."""
        name = (request["pseudonym"], request["request_id"])
        self._asked.setdefault(name, request["received_at"])
        self._settle(name)

    def take_link(self, link: Mapping[str, Any]) -> None:
        """A record of privacy.audit."""
        request_id = link["details"].get("request_id")
        if link["action"] != ERASED or link["stage"] not in RECEIPTS or request_id is None or link["subject"] is None:
            return
        name = (link["subject"], request_id)
        self._receipts.setdefault(name, (link["occurred_at"], set()))[1].add(link["stage"])
        self._settle(name)

    def _settle(self, name: Request) -> None:
        """One that comes again after all have receipted it finds their receipts here."""
        receipts = self._receipts.get(name)
        if receipts is not None and receipts[1] >= RECEIPTS:
            self._asked.pop(name, None)

    def count(self) -> int:
        """Requests that are open."""
        return len(self._asked)

    def oldest_ms(self, now_ms: int) -> int:
        """Age of the oldest open one; 0 where none is."""
        return max((now_ms - at_ms for at_ms in self._asked.values()), default=0)

    def drop_old(self, now_ms: int) -> None:
        """Forget receipts of requests that no topic holds any more."""
        before_ms = now_ms - _FORGET_AFTER_MS
        self._receipts = {name: kept for name, kept in self._receipts.items() if kept[0] >= before_ms}
