"""Tallies hold each partition's newest tally, in whatever order and however often they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.serde.records import TallyBucket, TrainingTally
from streams.stages.learning.tallies import Tallies
from streams.stages.learning.tally import SCORE_BINS, empty_tally, position
from streams.topics import TRAINING_TALLIES
from tests.support.learning_harness import CODECS

CODEC = CODECS.for_topic(TRAINING_TALLIES)


def tally(partition: int, offset: int, bins: int = SCORE_BINS) -> TrainingTally:
    value = empty_tally(partition)
    value["pairs_offset"], value["pairs"] = offset, offset + 1
    value["buckets"] = [TallyBucket(model_version="m", start=0, items=offset, ignored=0, scores=[0] * bins)]
    return value


def record(value: TrainingTally) -> MemoryRecord:
    return MemoryRecord(TRAINING_TALLIES, 0, 0, 0, str(value["partition"]).encode(), CODEC.encode(value))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=30), st.integers(1, 7))
def test_the_newest_of_each_partition_stays(written: list[tuple[int, int]], at_once: int) -> None:
    tallies = Tallies(CODEC)
    records = [record(tally(partition, offset)) for partition, offset in written]
    for begin in range(0, len(records), at_once):
        tallies.apply(records[begin : begin + at_once])
    newest = {partition: max(offset for own, offset in written if own == partition) for partition, _ in written}
    assert tallies.tallies == [tally(partition, offset) for partition, offset in sorted(newest.items())]
    for partition in range(5):
        expected = position(tally(partition, newest[partition])) if partition in newest else -1
        assert tallies.position(partition) == expected


def test_what_cannot_be_used_is_counted_and_the_rest_stays() -> None:
    tallies = Tallies(CODEC)
    broken = MemoryRecord(TRAINING_TALLIES, 0, 0, 0, b"0", b"\x00broken")
    tallies.apply([record(tally(0, 5)), broken, broken._replace(value=None), record(tally(0, 9, bins=10))])
    assert tallies.bad_records == 2
    assert tallies.tallies == [tally(0, 5)]
