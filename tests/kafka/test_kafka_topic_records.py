"""A topic up to its end as of now: not beyond, and not for ever."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from streams.errors import BrokerUnavailable
from streams.kafka import topic_records as module
from streams.kafka.topic_records import records_so_far


class Consumer:
    """Two partitions with as many records as ``held``; ``ends`` is what the broker says at first."""

    def __init__(self, held: dict[str, int], ends: dict[str, int]) -> None:
        self.held, self.ends, self.at = held, ends, defaultdict[str, int](int)

    def assignment(self) -> set[str]:
        return set(self.held)

    async def seek_to_beginning(self, *tps: str) -> None: ...

    async def beginning_offsets(self, tps: list[str]) -> dict[str, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[str]) -> dict[str, int]:
        return self.ends

    async def position(self, tp: str) -> int:
        return self.at[tp]

    async def getmany(self, timeout_ms: int) -> dict[str, list[Any]]:
        found = {tp: [SimpleNamespace(offset=n) for n in range(self.at[tp], min(self.at[tp] + 3, held))] for tp, held in self.held.items()}
        for tp, records in found.items():
            self.at[tp] += len(records)
        return {tp: records for tp, records in found.items() if records}


async def read(consumer: Consumer, *, exactly: bool = False) -> list[int]:
    return [record.offset async for record in records_so_far(cast(AIOKafkaConsumer, consumer), "t", exactly=exactly)]


async def test_all_up_to_the_end_and_of_what_came_since_only_what_is_fetched_along() -> None:
    assert sorted(await read(Consumer({"a": 5, "b": 9}, {"a": 5, "b": 4}), exactly=True)) == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert sorted(await read(Consumer({"a": 5, "b": 9}, {"a": 5, "b": 4}))) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert await read(Consumer({"a": 0}, {"a": 0})) == []


async def test_a_broker_that_falls_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE_S", 0.0)
    with pytest.raises(BrokerUnavailable, match="nothing of t for 0 s"):
        await read(Consumer({"a": 2}, {"a": 5}))
