"""The step of the models is repeated when it asks, when something changed, and after whatever it raises."""

from __future__ import annotations

import asyncio

import pytest

from streams.errors import TransientError
from streams.models.hotswap import reconciler as module
from streams.models.hotswap.reconciler import Reconciler
from tests.support.virtual_time import run_in_virtual_time

Outcome = float | None | Exception


def stepped_at(outcomes: list[Outcome], until: float, changed_at: float | None = None) -> list[float]:
    """When the step was called; each call has the next outcome, the last one again and again."""
    called: list[float] = []

    async def run() -> None:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        async def step() -> float | None:
            called.append(loop.time())
            outcome = outcomes[min(len(called), len(outcomes)) - 1]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        if changed_at is not None:
            loop.call_later(changed_at, changed.set)
        reconciler = Reconciler(step, changed)
        reconciler.start()
        await asyncio.sleep(until)
        await reconciler.stop()

    run_in_virtual_time(run())
    return called


@pytest.fixture(autouse=True)
def _no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JITTER", 0.0)


def test_after_as_many_seconds_as_the_step_asks_for() -> None:
    assert stepped_at([2.0], until=5.0) == [0.0, 2.0, 4.0]


def test_a_change_is_seen_at_once() -> None:
    assert stepped_at([None], until=50.0) == [0.0]
    assert stepped_at([None], until=50.0, changed_at=7.0) == [0.0, 7.0]


@pytest.mark.parametrize("error", [TransientError("the store is away"), ValueError("a bug")])
def test_whatever_fails_is_tried_again_ever_less_often(error: Exception) -> None:
    assert stepped_at([error], until=200.0) == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0]


def test_a_success_ends_the_waiting() -> None:
    away = TransientError("the store is away")
    assert stepped_at([away, away, 10.0, away, None], until=50.0) == [0.0, 1.0, 3.0, 13.0, 14.0]


def test_a_change_does_not_wait_for_the_next_attempt() -> None:
    away = TransientError("the store is away")
    assert stepped_at([away, away, away, None], until=100.0, changed_at=5.0) == [0.0, 1.0, 3.0, 5.0]
