"""Trying again: how long the waits are, what is tried again, and when it is given up."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import backoff as module
from streams.backoff import Backoff, is_set_within, retry
from streams.errors import TransientError
from tests.support.virtual_time import run_in_virtual_time

seconds = st.floats(0.01, 100.0)
shares = st.floats(0.0, 1.0)


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(
    first=seconds,
    most=seconds,
    jitter=st.floats(0.0, 1.0),
    chances=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=20),
)
def test_waits_double_up_to_the_longest_and_chance_only_shortens_them(
    first: float, most: float, jitter: float, chances: list[float]
) -> None:
    drawn = iter(chances)
    backoff = Backoff(first, most, jitter=jitter, chance=lambda: next(drawn))
    for attempt in range(len(chances)):
        whole = min(first * 2**attempt, most)
        assert whole * (1.0 - jitter) <= backoff.next_s() <= whole
        assert backoff.failures == attempt + 1


@given(failures=st.integers(1, 10))
def test_after_a_success_it_begins_anew(failures: int) -> None:
    backoff = Backoff(0.5, 8.0)
    before = [backoff.next_s() for _ in range(failures)]
    backoff.reset()
    assert backoff.failures == 0
    assert [backoff.next_s() for _ in range(failures)] == before


def test_jitter_takes_its_share_off() -> None:
    assert Backoff(1.0, 8.0, jitter=0.2, chance=lambda: 0.5).next_s() == pytest.approx(0.9)


class Failing:
    """Fails so many times, then answers; remembers when it was called."""

    def __init__(self, failures: int, error: type[Exception] = TransientError) -> None:
        self._failures, self._error = failures, error
        self.called_at: list[float] = []

    async def __call__(self) -> str:
        self.called_at.append(asyncio.get_running_loop().time())
        if len(self.called_at) <= self._failures:
            raise self._error(f"attempt {len(self.called_at)}")
        return "answer"


def virtual(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    run_in_virtual_time(run())


def test_it_is_called_again_after_growing_waits_and_says_so() -> None:
    attempt, said = Failing(4), []

    async def run() -> None:
        answer = await retry(
            attempt, transient=TransientError, backoff=Backoff(1.0, 4.0), on_retry=lambda error, wait_s: said.append((str(error), wait_s))
        )
        assert answer == "answer"

    virtual(run)
    assert attempt.called_at == [0.0, 1.0, 3.0, 7.0, 11.0]
    assert said == [("attempt 1", 1.0), ("attempt 2", 2.0), ("attempt 3", 4.0), ("attempt 4", 4.0)]


def test_another_error_is_raised_at_once() -> None:
    attempt = Failing(1, ValueError)

    async def run() -> None:
        with pytest.raises(ValueError, match="attempt 1"):
            await retry(attempt, transient=TransientError, backoff=Backoff(1.0, 1.0))

    virtual(run)
    assert attempt.called_at == [0.0]


@pytest.mark.parametrize(("deadline_s", "attempts"), [(0.0, 1), (0.9, 1), (1.0, 2), (3.5, 4)])
def test_no_attempt_begins_after_the_deadline(deadline_s: float, attempts: int) -> None:
    attempt, said = Failing(100), []

    async def run() -> None:
        with pytest.raises(TransientError, match=f"attempt {attempts}"):
            await retry(
                attempt,
                transient=TransientError,
                backoff=Backoff(1.0, 1.0),
                on_retry=lambda error, wait_s: said.append(error),
                deadline_s=deadline_s,
                monotonic=asyncio.get_running_loop().time,
            )

    virtual(run)
    assert len(attempt.called_at) == attempts
    assert len(said) == attempts - 1, "the last error is raised, not said"


def test_told_to_stop_it_does_not_wait_and_raises_the_last_error() -> None:
    attempt = Failing(100)

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(7.0, stop.set)
        with pytest.raises(TransientError, match="attempt 2"):
            await retry(attempt, transient=TransientError, backoff=Backoff(5.0, 5.0), stop=stop)
        assert asyncio.get_running_loop().time() == 7.0

    virtual(run)
    assert attempt.called_at == [0.0, 5.0]


def test_stopped_already_there_is_one_attempt() -> None:
    attempt = Failing(1)

    async def run() -> None:
        stop = asyncio.Event()
        stop.set()
        with pytest.raises(TransientError):
            await retry(attempt, transient=TransientError, backoff=Backoff(1.0, 1.0), stop=stop)

    virtual(run)
    assert attempt.called_at == [0.0]


def test_what_the_pause_raises_ends_it() -> None:
    """As a fence does between two attempts."""
    attempt = Failing(100)

    async def run() -> None:
        async def pause(wait_s: float) -> None:
            raise TransientError("not ours any more")

        with pytest.raises(TransientError, match="not ours any more"):
            await retry(attempt, transient=TransientError, backoff=Backoff(1.0, 1.0), pause=pause)

    virtual(run)
    assert attempt.called_at == [0.0]


@pytest.mark.parametrize(("set_after", "limit", "is_set", "took"), [(2.0, 5.0, True, 2.0), (7.0, 5.0, False, 5.0), (9.0, None, True, 9.0)])
def test_an_event_is_waited_for_no_longer_than_told(set_after: float, limit: float | None, is_set: bool, took: float) -> None:
    async def run() -> None:
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.call_later(set_after, event.set)
        assert await is_set_within(event, limit) is is_set
        assert loop.time() == took

    virtual(run)
