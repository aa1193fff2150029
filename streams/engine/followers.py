"""What feeds a read model from a topic, as stages and health see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable


class Follower(Protocol):
    """Feeds read models from topics, for as long as the stage runs."""

    @property
    def topic(self) -> str:
        """Full name of the topic whose partitions it is told at the start."""
        ...

    async def start(self, partitions: int) -> None: ...
    async def stop(self) -> None: ...
    async def caught_up(self, partition: int | None = None) -> None:
        """Wait until everything that is there now (or in one partition) is applied. Raises what stopped it."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A follower that tells how it is doing."""

    @property
    def failure(self) -> BaseException | None:
        """What ended it for ever."""
        ...

    @property
    def trouble(self) -> str | None:
        """The error that it is retrying, and the topic."""
        ...

    def age_s(self) -> float:
        """Seconds since it last knew that it had applied everything that was there; 0 when it is up to date."""
        ...


class WatchedTogether:
    """A follower made of several, which tells of them as of one. Those that tell nothing are left out."""

    def _followed(self) -> Iterable[Follower]:
        """Those that matter now."""
        raise NotImplementedError

    @property
    def failure(self) -> BaseException | None:
        """Of the first that has failed."""
        return next((one.failure for one in self._watched() if one.failure is not None), None)

    @property
    def trouble(self) -> str | None:
        """Of the first that is in trouble."""
        return next((one.trouble for one in self._watched() if one.trouble is not None), None)

    def age_s(self) -> float:
        """Of the one that is the furthest behind, seconds."""
        return max((one.age_s() for one in self._watched()), default=0.0)

    def _watched(self) -> list[Watched]:
        return [one for one in self._followed() if isinstance(one, Watched)]
