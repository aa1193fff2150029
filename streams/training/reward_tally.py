"""Sums the rewards of stable's and the canary's recommendations from feedback, and counts how likely each place is seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streams.serde.records import Feedback
from streams.training.cases import Seen
from streams.training.rollout import Arm, CanaryRule, Decision, between, cluster_of, compare

_RANKS = 200


@dataclass
class RewardTally:
    """The sums of the feedback so far. The reward of a recommendation is the sum over its items. Its records come one after another,
    so a recommendation is closed when another one of its partition begins.
    """

    incumbent: str = ""
    candidate: str = ""
    since_ms: int = 0
    """When the canary was announced."""
    arms: dict[str, Arm] = field(default_factory=dict)
    clusters: dict[str, dict[int, tuple[int, float]]] = field(default_factory=dict)
    """By model and group of shoppers: how many recommendations, and their rewards added up."""
    open: dict[int, tuple[str, str, float, int]] = field(default_factory=dict)
    """By partition: the recommendation whose items are coming, its model, its reward so far, its shopper's group."""
    seen: dict[int, Seen] = field(default_factory=dict)
    """By rank."""

    def watch(self, incumbent: str, candidate: str, since_ms: int) -> None:
        """Begin to compare two versions. Does nothing if they are already compared."""
        if (incumbent, candidate, since_ms) != (self.incumbent, self.candidate, self.since_ms):
            self.incumbent, self.candidate, self.since_ms = incumbent, candidate, since_ms
            self.arms, self.clusters, self.open = {}, {}, {}

    def add(self, partition: int, feedback: Iterable[tuple[int, Feedback]]) -> None:
        """A partition's records with the broker's times, milliseconds, in order. Rewards from before the announcement do not count: then
        stable served everybody."""
        for written_ms, record in feedback:
            rank = record["rank"]
            if 0 <= rank < _RANKS:
                before = self.seen.get(rank, Seen(0, 0))
                self.seen[rank] = Seen(before.recommended + 1, before.seen + (record["shown"] or record["outcome"] != "ignored"))
            if record["model_version"] not in (self.incumbent, self.candidate) or written_ms < self.since_ms:
                continue
            known = self.open.get(partition)
            if known is not None and known[0] == record["recommendation_id"]:
                self.open[partition] = (known[0], known[1], known[2] + record["reward"], known[3])
                continue
            if known is not None:
                self._close(known)
            cluster = cluster_of(record["pseudonym"])
            self.open[partition] = (record["recommendation_id"], record["model_version"], record["reward"], cluster)

    def outcome(self, now_ms: int, rule: CanaryRule) -> Decision | None:
        """What is to be done; None if no canary is served."""
        if not self.candidate:
            return None
        return compare(self._arm(self.incumbent), self._arm(self.candidate), now_ms - self.since_ms, rule)

    def _arm(self, version: str) -> Arm:
        return self.arms.get(version, Arm())._replace(between=between(self.clusters.get(version, {}).values()))

    def _close(self, known: tuple[str, str, float, int]) -> None:
        _, version, reward, cluster = known
        self.arms[version] = self.arms.get(version, Arm()).plus([reward])
        own = self.clusters.setdefault(version, {})
        size, total = own.get(cluster, (0, 0.0))
        own[cluster] = (size + 1, total + reward)

    def dump(self) -> dict[str, Any]:
        """For the store."""
        return {
            "versions": [self.incumbent, self.candidate, self.since_ms],
            "arms": {version: list(arm[:3]) for version, arm in self.arms.items()},
            "clusters": {version: [[cluster, *sums] for cluster, sums in own.items()] for version, own in self.clusters.items()},
            "open": [[partition, *known] for partition, known in self.open.items()],
            "seen": [[rank, *of] for rank, of in self.seen.items()],
        }

    @classmethod
    def load(cls, dumped: Any) -> RewardTally:
        """The inverse of ``dump``; a new one of None."""
        if dumped is None:
            return cls()
        incumbent, candidate, since_ms = dumped["versions"]
        return cls(
            incumbent,
            candidate,
            since_ms,
            {version: Arm(*arm) for version, arm in dumped["arms"].items()},
            {version: {cluster: (size, total) for cluster, size, total in own} for version, own in dumped["clusters"].items()},
            {partition: (known, version, reward, cluster) for partition, known, version, reward, cluster in dumped["open"]},
            {rank: Seen(*of) for rank, *of in dumped["seen"]},
        )
