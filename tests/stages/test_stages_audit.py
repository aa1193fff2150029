"""Stages with a trail: a crash between outputs and state, a redo with other batches, and heads that lie in the stage's own state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streams.audit.trail import StageTrail, is_head
from streams.clock import FixedClock
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord, StateView
from streams.stages.profile.together_counter import is_profile
from streams.topics import PRIVACY_AUDIT
from tests.support import feedback_harness
from tests.support.audit_chains import CODEC, KEYS, verified
from tests.support.profile_harness import MemoryState, ProfileHarness, event, event_records

STAGES = ("profile", "feedback")


class Appending:
    """A stage's handler, and a link for each record of every batch that it handles."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage

    async def __call__(self, batch: Sequence[MemoryRecord], state: StateView) -> BatchResult:
        page = self._stage.trail.open(batch, state)
        result: BatchResult = await self._stage(batch, state)
        for record in batch:
            page.append(record, "erased", f"k1.{record.offset}")
        page.close(result)
        return result


def made(name: str) -> Any:
    """A fresh stage, as after a start."""
    stage: Any = ProfileHarness().stage if name == "profile" else feedback_harness.make_stage(FixedClock(0))
    stage.trail = StageTrail(name, KEYS[name], CODEC)  # type: ignore[index]
    return stage


def source(name: str) -> list[MemoryRecord]:
    if name == "profile":
        return event_records([event(n, f"u{n % 2}", "view", f"i00{n}") for n in range(6)])
    return [feedback_harness.event(n, feedback_harness.ANNA, "view", "i1", n) for n in range(6)]


@pytest.mark.parametrize("name", STAGES)
async def test_a_redo_writes_the_same_bytes(name: str) -> None:
    """The worker dies after the outputs of its second batch; the next one cuts the records otherwise."""
    records, state = source(name), MemoryState()
    handler = Appending(made(name))
    first = await handler(records[:2], state)
    state.write(first.state)
    lost = await handler(records[2:5], state)

    handler = Appending(made(name))
    again = []
    for part in (records[2:3], records[3:6]):
        result = await handler(part, state)
        state.write(result.state)
        again += links(result)
    assert again[:3] == links(lost), "ids and bytes: the engine finds them written"
    topic = links(first) + links(lost) + again[3:]
    found = [MemoryRecord(PRIVACY_AUDIT, 0, offset, 0, output.key, output.value) for offset, output in enumerate(topic)]
    verifier, findings = verified(found)
    assert findings == [] and verifier.links == 6 and len(verifier.heads()) == 1


@pytest.mark.parametrize("name", STAGES)
async def test_what_is_applied_is_not_appended_again(name: str) -> None:
    """Outputs and state were written, the offset was not committed."""
    records, state = source(name), MemoryState()
    state.write((await Appending(made(name))(records[:4], state)).state)
    result = await Appending(made(name))(records[2:6], state)
    assert [CODEC.decode(output.value)["subject"] for output in links(result)] == ["k1.4", "k1.5"]


async def test_a_stage_that_goes_through_its_state_knows_the_heads() -> None:
    records, state = source("feedback"), MemoryState()
    state.write((await Appending(made("feedback"))(records, state)).state)
    assert any(map(is_head, state))
    stage = made("feedback")
    await stage.on_assigned(0, state.items())
    assert not links(await stage.on_timer(0, state))


def test_a_head_is_no_profile() -> None:
    assert not is_profile(b"\0audit\0behaviour.clean") and is_profile(b"k1.a")


@pytest.mark.parametrize("name", STAGES)
async def test_without_a_trail_nothing_is_appended(name: str) -> None:
    fresh = ProfileHarness().stage if name == "profile" else feedback_harness.make_stage()
    result = await Appending(fresh)(source(name), MemoryState())
    assert links(result) == [] and not any(map(is_head, result.state))


def links(result: BatchResult) -> list[OutputRecord]:
    return [output for output in result.outputs if output.topic == PRIVACY_AUDIT]
