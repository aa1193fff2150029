"""The commit ledger: per partition, the longest unbroken run of source offsets whose effects are acknowledged.

Faust 0.15.3 commits from a list of acknowledged offsets and can pass an unprocessed one; this ledger replaces it. It
counts in delivered runs, not in single offsets: compaction and transaction markers leave holes between offsets that
nobody will ever acknowledge.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Partition(NamedTuple):
    """A topic partition; equal to any (topic, partition) tuple, so Faust's and aiokafka's types serve as they are."""

    topic: str
    partition: int


class Commit(NamedTuple):
    """A committable position: the next source offset to read, and what goes with it into the commit."""

    offset: int
    metadata: str


@dataclass(slots=True)
class _Run:
    last: int
    metadata: str | None = None  # None until its effects are acknowledged


@dataclass(slots=True)
class _Account:
    runs: OrderedDict[int, _Run] = field(default_factory=OrderedDict)
    ready: Commit | None = None


class CommitLedger:
    """What was delivered and what of it is done, per partition.

    >>> ledger = CommitLedger()
    >>> p = Partition("t", 0)
    >>> ledger.delivered(p, 0, 9); ledger.delivered(p, 10, 14)
    >>> ledger.done(p, 10, "b")
    True
    >>> ledger.committable(p) is None
    True
    >>> ledger.done(p, 0, "a")
    True
    >>> ledger.committable(p)
    Commit(offset=15, metadata='b')
    """

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, int], _Account] = {}

    def restart(self, partition: tuple[str, int]) -> None:
        """The partition will be delivered anew from its committed offset: forget everything about it."""
        self._accounts.pop(partition, None)

    def delivered(self, partition: tuple[str, int], first: int, last: int) -> None:
        """A run of offsets ``first..last`` was handed to the stage. A run that was delivered before is not added twice."""
        account = self._accounts.setdefault(partition, _Account())
        if first not in account.runs:
            account.runs[first] = _Run(last)

    def done(self, partition: tuple[str, int], first: int, metadata: str) -> bool:
        """All effects of the run beginning at ``first`` are acknowledged by the broker.

        False where the ledger does not know the run (it was restarted since): such a run will be delivered again.
        """
        account = self._accounts.get(partition)
        run = account.runs.get(first) if account is not None else None
        if account is None or run is None:
            return False
        run.metadata = metadata
        while account.runs:
            head_first, head = next(iter(account.runs.items()))
            if head.metadata is None:
                break
            account.ready = Commit(head.last + 1, head.metadata)
            del account.runs[head_first]
        return True

    def is_idle(self, partition: tuple[str, int]) -> bool:
        """True where nothing delivered is still undone."""
        account = self._accounts.get(partition)
        return account is None or not account.runs

    def oldest_undone(self, partition: tuple[str, int]) -> int | None:
        """First offset of the oldest run that was delivered and is not done."""
        account = self._accounts.get(partition)
        return next((first for first, run in account.runs.items() if run.metadata is None), None) if account is not None else None

    def renew(self, partition: tuple[str, int], commit: Commit) -> None:
        """Commit this position even though no run was finished (first take-over, or fresher metadata of an idle partition)."""
        self._accounts.setdefault(partition, _Account()).ready = commit

    def committable(self, partition: tuple[str, int]) -> Commit | None:
        """The position to commit now, None where nothing changed since the last one."""
        account = self._accounts.get(partition)
        return account.ready if account is not None else None

    def committed(self, partition: tuple[str, int], commit: Commit) -> None:
        """The broker has taken this commit."""
        account = self._accounts.get(partition)
        if account is not None and account.ready == commit:
            account.ready = None

    def pending(self) -> Iterator[tuple[tuple[str, int], Commit]]:
        """All positions to commit now."""
        for partition, account in list(self._accounts.items()):
            if account.ready is not None:
                yield partition, account.ready
