"""Two groups of shoppers and their purchases: with and without recommendations, or by the first and by the new model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from streams.simulator.shopper import Shopper


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """Purchases per session in both groups, and the difference with its 95 % interval (normal approximation)."""

    treated_sessions: int
    treated_purchases: int
    control_sessions: int
    control_purchases: int

    @property
    def treated_rate(self) -> float:
        return self.treated_purchases / max(1, self.treated_sessions)

    @property
    def control_rate(self) -> float:
        return self.control_purchases / max(1, self.control_sessions)

    @property
    def uplift_interval(self) -> tuple[float, float]:
        # Purchases of a session are close to Poisson: variance of a rate = rate / sessions.
        spread = 1.96 * math.sqrt(self.treated_rate / max(1, self.treated_sessions) + self.control_rate / max(1, self.control_sessions))
        difference = self.treated_rate - self.control_rate
        return difference - spread, difference + spread


def outcome(
    shoppers: Iterable[Shopper], treated: Callable[[Shopper], bool], since: Mapping[str, tuple[int, int]] | None = None
) -> GroupOutcome:
    """What both groups did, all in all or ``since`` the sessions and purchases that were counted then, by user."""
    counts = {True: [0, 0], False: [0, 0]}
    for shopper in shoppers:
        sessions, purchases = (since or {}).get(shopper.user_id, (0, 0))
        group = counts[treated(shopper)]
        group[0] += shopper.sessions - sessions
        group[1] += shopper.purchases - purchases
    return GroupOutcome(*counts[True], *counts[False])


class Comparison:
    """Compares the shoppers served by a new model with those served by the first one, while both serve.

    A hash of the pseudonym assigns the groups. So the groups differ only in the model.
    """

    def __init__(self, shoppers: Iterable[Shopper], new: Callable[[str], bool]) -> None:
        """``new``: whether a user id is the new model's. Counts begin now; who sees no recommendations is left out."""
        self._shoppers = [shopper for shopper in shoppers if not shopper.control]
        self._new = {shopper.user_id for shopper in self._shoppers if new(shopper.user_id)}
        self._since = {shopper.user_id: (shopper.sessions, shopper.purchases) for shopper in self._shoppers}
        self._closed: GroupOutcome | None = None

    def close(self) -> None:
        """Counts end now: one model serves everybody."""
        self._closed = self.outcome()

    def outcome(self) -> GroupOutcome:
        """``treated``: by the new model; ``control``: by the first one."""
        return self._closed or outcome(self._shoppers, lambda shopper: shopper.user_id in self._new, self._since)
