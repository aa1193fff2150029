"""The health of a stage's process: why it is not ready, and its gauges."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from streams.engine.followers import Follower
from streams.engine.metrics import StageMetrics
from streams.engine.outputs import Outputs
from streams.engine.runner import Runner

log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""Trouble that lasts longer shows in /readyz."""


class Fetches(Protocol):
    def end(self, topic: str, partition: int) -> int | None: ...
    def position(self, topic: str, partition: int) -> int | None: ...
    def troubles(self) -> list[tuple[str, int, str, float]]: ...


class Moves(Protocol):
    @property
    def is_moving(self) -> bool: ...
    @property
    def recovery_left(self) -> int: ...


class Health:
    """Looks at everything every few seconds; ``seconds`` is the clock of the event loop."""

    def __init__(
        self,
        metrics: StageMetrics,
        runner: Runner,
        member: Moves,
        fetcher: Fetches,
        outputs: Outputs,
        followers: Sequence[Follower],
        seconds: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._runner = runner
        self._member = member
        self._fetcher = fetcher
        self._outputs = outputs
        self._followers = followers
        self._seconds = seconds
        self._reported: set[tuple[str, int]] = set()
        self._suspected: set[tuple[str, int]] = set()

    @property
    def is_stuck(self) -> bool:
        """Something is being tried in vain."""
        return bool(self._outputs.retrying) or any(worker.failing_since is not None for worker in self._runner.workers.values())

    def why_not_ready(self) -> str | None:
        """The longest trouble, or None."""
        now = self._seconds()
        runner = self._runner
        troubles: list[tuple[float, str]] = []
        for partition, worker in runner.workers.items():
            if worker.failing_since is not None and worker.topics:
                troubles.append((worker.failing_since, f"partition {partition}: {worker.trouble}"))
            elif worker.busy_since is not None and worker.is_busy and self._outputs.retrying:
                topic, number = next(iter(self._outputs.retrying))
                troubles.append((worker.busy_since, f"partition {partition}: writing to {topic}/{number} is tried again"))
        if runner.commit_trouble_since is not None:
            troubles.append((runner.commit_trouble_since, "commits are not answered"))
        troubles += [(since, f"{topic}/{partition} can't be fetched: {what}") for topic, partition, what, since in self._fetcher.troubles()]
        lasting = [(since, text) for since, text in troubles if now - since >= PATIENCE_S]
        if lasting:
            since, text = min(lasting)
            return f"retrying for {now - since:.0f} s: {text}"
        begun = [partition for partition, worker in runner.workers.items() if worker.topics and not worker.checkpoint.is_sure]
        if begun:
            return (
                f"taking over: partition {begun[0]} and {len(begun) - 1} more" if len(begun) > 1 else f"taking over: partition {begun[0]}"
            )
        foreign = runner.busy_not_owned()
        if foreign:
            return f"still processing partitions that were given to another worker: {', '.join(map(str, foreign))}"
        for follower in self._followers:
            age = getattr(follower, "age_s", None)
            if age is not None and age() >= 6 * PATIENCE_S:
                return f"the read model of {follower.topic} is {age():.0f} s old"
        return None

    def observe(self) -> None:
        """Set the gauges; find what got lost between fetching and the queues."""
        metrics, now = self._metrics, self._seconds()
        reported: set[tuple[str, int]] = set()
        suspected: set[tuple[str, int]] = set()
        for partition, worker in self._runner.workers.items():
            if worker.topics:
                metrics.retrying(partition, 0.0 if worker.failing_since is None else now - worker.failing_since)
            for topic in worker.topics:
                reported.add((topic, partition))
                applied, end = worker.checkpoint.applied(topic), self._fetcher.end(topic, partition)
                if applied is not None and end is not None:
                    metrics.lag(topic, partition, max(0, end - applied))
                oldest = worker.oldest_waiting_ms(topic)
                metrics.behind(topic, partition, 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000))
                position = self._fetcher.position(topic, partition)
                if (
                    not worker.is_busy and worker.checkpoint.is_sure and position is not None and not self._member.is_moving
                    and position + worker.checkpoint.base(topic) > worker.fetched_to(topic)
                ):  # fmt: skip
                    suspected.add((topic, partition))
        for topic, partition in suspected & self._suspected:
            log.warning("%s/%d: fetched records did not reach the queue; fetching them again", topic, partition)
            self._runner.workers[partition].fetch_again(topic)
        self._suspected = suspected - self._suspected
        for topic, partition in self._reported - reported:
            metrics.forget_partition(topic, partition)
        self._reported = reported
        metrics.owned.set(len(reported))
        metrics.recovery_left.set(self._member.recovery_left)
        sizes = [worker.checkpoint.state_size for worker in self._runner.workers.values() if worker.topics]
        metrics.state_size(sum(size.values for size in sizes), sum(size.bytes for size in sizes))
        metrics.foreign_busy.set(len(self._runner.busy_not_owned()))
        for follower in self._followers:
            age = getattr(follower, "age_s", None)
            if age is not None:
                metrics.follower_age(follower.topic, age())
        metrics.ready.set(0 if self._member.is_moving or self.why_not_ready() is not None else 1)
