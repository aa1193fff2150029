"""Which partitions this worker owns, in which generation of the group, and until when.

The group's coordinator gives a partition to another worker when it has not heard from this one for the session timeout. A worker that is
stopped or cut off does not learn of this. But it knows when it last sent a heartbeat that was answered. So ownership expires by
itself, before the coordinator's session timeout. It is checked right before each write (the *fence*).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set

from streams.errors import NotOwner


def seconds_awake_or_not() -> float:
    """Seconds of a clock that also runs while the machine sleeps, if there is one. The coordinator's clock runs then, too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Ownership:
    """What this worker may write for.

    >>> now = [0.0]
    >>> ownership = Ownership(session_s=10.0, seconds=lambda: now[0])
    >>> ownership.renew(0.0); ownership.assign({("t", 0)}, generation=3)
    >>> ownership.holds(("t", 0), 3), ownership.holds(("t", 0), 2), ownership.holds(("t", 1), 3)
    (True, False, False)
    >>> now[0] = 10.1
    >>> ownership.holds(("t", 0), 3)
    False
    """

    def __init__(self, session_s: float, seconds: Callable[[], float] = seconds_awake_or_not) -> None:
        self._session_s = session_s
        self._seconds = seconds
        self._owned: frozenset[tuple[str, int]] = frozenset()
        self._generation = -1
        self._renewed_at = float("-inf")

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def owned(self) -> Set[tuple[str, int]]:
        return self._owned

    def assign(self, owned: Set[tuple[str, int]], generation: int) -> None:
        """These partitions, and no others, are this worker's in this generation."""
        self._owned = frozenset(owned)
        self._generation = generation

    def give_up(self) -> None:
        """Nothing is this worker's until the next ``assign``."""
        self._owned = frozenset()

    def renew(self, sent_at: float) -> None:
        """The coordinator answered a heartbeat (or a join) that was sent at this time: its session lasts from then on at least."""
        self._renewed_at = max(self._renewed_at, sent_at)

    def holds(self, partition: tuple[str, int], generation: int) -> bool:
        """Whether a write for the partition, prepared in this generation, may go out now."""
        return generation == self._generation and partition in self._owned and self._seconds() - self._renewed_at < self._session_s

    def check(self, partition: tuple[str, int], generation: int) -> None:
        """Raises NotOwner if ``holds`` says no."""
        if not self.holds(partition, generation):
            raise NotOwner(f"{partition[0]}/{partition[1]} is no longer this worker's (generation {generation})")
