"""What the latency benchmark counts: from when an event was due, and every event."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from benchmarks import latency as module
from benchmarks.latency import Probe, quantiles
from tests.support.virtual_time import run_in_virtual_time


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))


def test_quantiles_are_of_the_nearest_rank() -> None:
    found = quantiles([float(n) for n in range(1000, 0, -1)])
    assert found == {"events": 1000, "p50": 501.0, "p90": 901.0, "p99": 991.0, "p99.9": 1000.0, "max": 1000.0}
    assert quantiles([3.0])["p99.9"] == 3.0


def test_a_driver_that_is_late_makes_latencies_longer() -> None:
    async def run() -> list[float]:
        probe = Probe()

        async def send(number: int, due: float) -> None:
            probe.sent(number, due)
            if number == 0:
                await asyncio.sleep(0.1)  # the second event was due 10 ms after the first
            probe.answered(number)
            probe.answered(number)  # twice is once

        return await probe.run(100.0, 0.03, send)

    assert run_in_virtual_time(run()) == pytest.approx([100.0, 90.0, 80.0])


def test_an_event_that_is_never_answered_fails_the_benchmark() -> None:
    async def run() -> None:
        probe = Probe()

        async def send(number: int, due: float) -> None:
            probe.sent(number, due)
            if number:
                probe.answered(number)

        await probe.run(100.0, 0.05, send)

    with pytest.raises(AssertionError, match="1 events were never answered"):
        run_in_virtual_time(run())
