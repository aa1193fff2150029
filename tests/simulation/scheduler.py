"""Tasks on a virtual clock; a seeded scheduler decides who goes on next.

It drives plain coroutines by itself: an event loop would cost more than all that is simulated.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from random import Random
from typing import Any


class Stuck(Exception):
    """Nothing can go on, or it takes too long."""


class Owner:
    """A process: it can be stopped for a while (SIGSTOP), cut off from the broker, and killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.stopped_until = 0.0
        self.cut_until = 0.0
        self.tasks: list[SimTask] = []


class SimTask:
    """A coroutine and who waits for its end. A ``streams.engine.runtime.Task``."""

    __slots__ = ("_waiting", "error", "is_done", "on_error", "owner", "scheduler", "work")

    def __init__(
        self, scheduler: Scheduler, work: Coroutine[Any, Any, Any], owner: Owner | None, on_error: Callable[[BaseException], None] | None
    ) -> None:
        self.scheduler = scheduler
        self.work = work
        self.owner = owner
        self.on_error = on_error
        self.is_done = False
        self.error: BaseException | None = None
        self._waiting: list[SimTask] = []

    def done(self) -> bool:
        return self.is_done

    def cancel(self) -> None:
        if not self.is_done:
            self.finish(None)
            self.work.close()

    def finish(self, error: BaseException | None) -> None:
        self.is_done, self.error = True, error
        if error is not None and self.on_error is not None:
            self.on_error(error)
        for task in self._waiting:
            self.scheduler.make_ready(task)

    def __await__(self) -> Generator[_Park, None, None]:
        while not self.is_done:
            yield _Park(self._waiting.append)
        if self.error is not None:
            raise self.error


class _Park:
    """Awaited: the task is handed to ``keep`` and goes on when somebody makes it ready."""

    __slots__ = ("keep",)

    def __init__(self, keep: Callable[[SimTask], object]) -> None:
        self.keep = keep

    def __await__(self) -> Generator[_Park, None, None]:
        yield self


class SimEvent:
    """A ``streams.engine.runtime.Event``."""

    __slots__ = ("_is_set", "_scheduler", "_waiting")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False
        self._waiting: list[SimTask] = []

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self._scheduler.make_ready(task)

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        while not self._is_set:
            await _Park(self._waiting.append)


class SimLock:
    """A ``streams.engine.outputs.Lock``."""

    __slots__ = ("_is_held", "_scheduler", "_waiting")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_held = False
        self._waiting: list[SimTask] = []

    async def acquire(self) -> bool:
        while self._is_held:
            await _Park(self._waiting.append)
        self._is_held = True
        return True

    def release(self) -> None:
        self._is_held = False
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self._scheduler.make_ready(task)


class Scheduler:
    """``run`` until a task is done. Whatever is random in a simulation is drawn from ``rng``."""

    def __init__(self, seed: int, *, most_steps: int, most_seconds: float) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.steps = 0
        self.running: Owner | None = None
        """Whose task goes on now."""
        self._most_steps = most_steps
        self._most_seconds = most_seconds
        self._ready: list[SimTask] = []
        self._timers: list[tuple[float, int, SimTask | Callable[[], None]]] = []
        self._count = 0

    def make_ready(self, task: SimTask) -> None:
        if not task.is_done:
            self._ready.append(task)

    def spawn(
        self, work: Coroutine[Any, Any, Any], owner: Owner | None, on_error: Callable[[BaseException], None] | None = None
    ) -> SimTask:
        task = SimTask(self, work, owner, on_error)
        if owner is not None:
            owner.tasks.append(task)
        self._ready.append(task)
        return task

    def at(self, when: float, what: SimTask | Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, what))

    @property
    def is_cut_off(self) -> bool:
        """Whether answers to the process that runs now get lost."""
        return self.running is not None and self.running.cut_until > self.now

    async def sleep(self, seconds: float) -> None:
        await _Park(lambda task: self.at(self.now + seconds, task))

    async def elsewhere(self, effect: Callable[[], Any], there_s: float, back_s: float) -> Any:
        """``effect`` happens after ``there_s`` whatever becomes of the caller meanwhile; the caller has its result after ``back_s``."""
        result: list[Any] = []

        def park(task: SimTask) -> None:
            def arrive() -> None:
                result.append(effect())
                self.at(self.now + back_s, task)

            self.at(self.now + there_s, arrive)

        await _Park(park)
        return result[0]

    def kill(self, owner: Owner) -> None:
        owner.is_dead = True
        tasks, owner.tasks = owner.tasks, []
        for task in tasks:
            task.is_done = True
        for task in tasks:
            # One that runs now, or wants to wait in its last words: a dead process has none.
            with suppress(RuntimeError, ValueError):
                task.work.close()

    def run(self, until: SimTask) -> None:
        """Raises what the task raised, or Stuck."""
        ready, timers, random = self._ready, self._timers, self.rng.random
        while not until.is_done:
            if not ready and not timers:
                raise Stuck("nothing can go on")
            if not ready and timers[0][0] > self.now:
                self.now = timers[0][0]
                if self.now > self._most_seconds:
                    raise Stuck(f"not done after {self.now:.0f} s")
            while timers and timers[0][0] <= self.now:
                what = heapq.heappop(timers)[2]
                if not isinstance(what, SimTask):
                    what()
                elif not what.is_done:
                    ready.append(what)
            if not ready:
                continue
            place = int(random() * len(ready))
            task = ready[place]
            ready[place] = ready[-1]
            ready.pop()
            if task.is_done:
                continue
            owner = task.owner
            if owner is not None and owner.stopped_until > self.now:
                self.at(owner.stopped_until, task)
                continue
            self.steps += 1
            if self.steps > self._most_steps:
                raise Stuck(f"not done after {self.steps} steps, {self.now:.0f} s")
            self.running = owner
            try:
                parked = task.work.send(None)
            except StopIteration:
                task.finish(None)
            except Exception as error:  # noqa: BLE001 - whoever waits for the task gets it
                task.finish(error)
            else:
                parked.keep(task)
        if until.error is not None:
            raise until.error


class SimRuntime:
    """A ``streams.engine.runtime.Runtime`` of one process."""

    def __init__(self, scheduler: Scheduler, owner: Owner) -> None:
        self._scheduler = scheduler
        self._owner = owner

    def event(self) -> SimEvent:
        return SimEvent(self._scheduler)

    def lock(self) -> SimLock:
        return SimLock(self._scheduler)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> SimTask:
        return self._scheduler.spawn(work, self._owner)

    def seconds(self) -> float:
        return self._scheduler.now

    async def sleep(self, seconds: float) -> None:
        await self._scheduler.sleep(seconds)
