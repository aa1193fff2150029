"""What a stage appends is in the topic once and to the byte the same, wherever a crash comes and however batches are cut after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.audit.chain import link_hash
from streams.audit.trail import HEADS, NoTrail, StageTrail, is_head
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord, StateView
from streams.errors import ConfigurationError
from streams.topics import BEHAVIOUR_CLEAN, PRIVACY_AUDIT, PROFILE_LINKS
from tests.support.audit_chains import CODEC, KEYS, NOW, verified
from tests.support.profile_harness import MemoryState

SOURCES = (BEHAVIOUR_CLEAN, PROFILE_LINKS)
PREFIX = "shop."


def record(topic: str, offset: int, links: int = 1, partition: int = 0) -> MemoryRecord:
    return MemoryRecord(PREFIX + topic, partition, offset, NOW + offset, b"k1.a", b"x" * links)


def trail(step_ms: int = 1) -> StageTrail:
    return StageTrail("profile", KEYS["profile"], CODEC, topic_prefix=PREFIX, step_ms=step_ms)


def handle(stage: StageTrail, batch: Sequence[MemoryRecord], state: StateView) -> BatchResult:
    """A stage that has a state of its own, by which it knows what it did, and appends as many links as a record has bytes."""
    result = BatchResult()
    page = stage.open(batch, state)
    for one in batch:
        done = f"done {one.topic} {one.offset}".encode()
        if not state.get_many([done]):
            for number in range(len(one.value or b"")):
                page.append(one, "erased", "k1.a", {"number": str(number)})
            result.state[done] = b"1"
    page.close(result)
    return result


class Engine:
    """The engine's order of a write, and what it finds at a take-over."""

    def __init__(self) -> None:
        self.topic: list[OutputRecord] = []
        self.state = MemoryState()

    def write(self, result: BatchResult, outputs: int | None = None, state: int | None = None) -> bool:
        """Up to so many outputs and changes; whether that was all."""
        written = {output.record_id for output in self.topic}
        missing = [output for output in result.outputs if output.record_id not in written]
        self.topic += missing[:outputs]
        if outputs is not None and outputs < len(missing):
            return False
        self.state.write(dict(islice(result.state.items(), state)))
        return state is None or state >= len(result.state)

    def chains(self) -> dict[str, list[bytes]]:
        found: defaultdict[str, list[bytes]] = defaultdict(list)
        for output in self.topic:
            assert output.value is not None and output.key == b"profile" and output.topic == PRIVACY_AUDIT
            found[CODEC.decode(output.value)["chain"]].append(output.value)
        return dict(found)


def undisturbed(sources: Mapping[str, Sequence[MemoryRecord]]) -> dict[str, list[bytes]]:
    engine = Engine()
    for records in sources.values():
        for one in records:
            assert engine.write(handle(trail(), [one], engine.state))
    return engine.chains()


@given(st.data())
def test_exactly_once_whatever_happens(data: st.DataObject) -> None:
    sources = {
        topic: [record(topic, offset, data.draw(st.integers(0, 2))) for offset in range(first, first + data.draw(st.integers(0, 6)))]
        for topic, first in zip(SOURCES, (0, 40), strict=True)
    }
    engine, committed = Engine(), dict.fromkeys(SOURCES, 0)
    stage, applied = trail(), dict(committed)
    for _ in range(60):
        open_ = [topic for topic in SOURCES if applied[topic] < len(sources[topic])]
        if not open_:
            break
        topic = data.draw(st.sampled_from(open_))
        batch = sources[topic][applied[topic] :][: data.draw(st.integers(1, 4))]
        result = handle(stage, batch, engine.state)
        crashes = data.draw(st.sampled_from([None, None, "outputs", "state", "commit"]))
        if crashes == "outputs" and result.outputs:
            engine.write(result, outputs=data.draw(st.integers(0, len(result.outputs) - 1)))
        elif crashes == "state" and result.state:
            engine.write(result, state=data.draw(st.integers(0, len(result.state) - 1)))
        else:
            assert engine.write(result)
            applied[topic] += len(batch)
            if crashes is None:
                committed[topic] = applied[topic]
        if crashes is not None:
            stage, applied = trail(), dict(committed)
    if any(applied[topic] < len(sources[topic]) for topic in SOURCES):
        return  # it crashed all the time
    assert engine.chains() == undisturbed(sources)
    topic_records = [MemoryRecord(PRIVACY_AUDIT, 0, offset, 0, o.key, o.value) for offset, o in enumerate(engine.topic)]
    assert verified(topic_records)[1] == []


def test_the_order_of_appending_is_not_that_of_the_chain() -> None:
    """A handler may go shopper by shopper through a batch."""
    batch = [record(BEHAVIOUR_CLEAN, offset) for offset in (5, 6, 7)]
    results = []
    for order in (batch, batch[::-1]):
        page, result = trail().open(batch, MemoryState()), BatchResult()
        for one in order:
            page.append(one, "erased")
        page.close(result)
        results.append(result)
    assert results[0] == results[1]
    links = [CODEC.decode(output.value) for output in results[0].outputs]
    assert [(link["sequence"], link["occurred_at"]) for link in links] == [(0, NOW + 5), (1, NOW + 6), (2, NOW + 7)]
    assert {link["chain"] for link in links} == {"behaviour.clean/0@5"}, "without the prefix of the topics"


def test_the_head_is_the_first_that_is_written() -> None:
    result = BatchResult(state={b"k1.a": b"1"})
    page = trail().open([record(BEHAVIOUR_CLEAN, 5)], MemoryState())
    page.append(record(BEHAVIOUR_CLEAN, 5), "erased")
    page.close(result)
    assert list(result.state) == [HEADS + b"behaviour.clean", b"k1.a"]
    assert [is_head(key) for key in result.state] == [True, False]


def test_without_links_nothing_is_written() -> None:
    for stage in (trail(), NoTrail()):
        page, result = stage.open([record(BEHAVIOUR_CLEAN, 5)], MemoryState()), BatchResult()
        if isinstance(stage, NoTrail):
            page.append(record(BEHAVIOUR_CLEAN, 5), "erased")
        page.close(result)
        assert result == BatchResult()


def test_partitions_have_chains_of_their_own_and_times_are_rounded() -> None:
    links = []
    for partition in (0, 1):
        page, result = trail(60_000).open([record(BEHAVIOUR_CLEAN, 5, 1, partition)], MemoryState()), BatchResult()
        page.append(record(BEHAVIOUR_CLEAN, 5, 1, partition), "consent", at_ms=NOW + 61_001)
        page.close(result)
        links.append(CODEC.decode(result.outputs[0].value))
        assert result.outputs[0].record_id == link_hash(links[-1])[:16], "by what it holds, not by where its record lies"
    assert [link["chain"] for link in links] == ["behaviour.clean/0@5", "behaviour.clean/1@5"]
    assert {link["occurred_at"] for link in links} == {NOW + 60_000}


@pytest.mark.parametrize(("data", "match"), [(b"\x02", "another version"), (b"\x01\xff", "damaged"), (b"", "another version")])
def test_a_head_that_is_none(data: bytes, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        trail().open([record(BEHAVIOUR_CLEAN, 5)], MemoryState({HEADS + b"behaviour.clean": data}))
