"""Keys that wait for a time or an offset, and batches that come again."""

from __future__ import annotations

from streams.stages.feedback.ledger import Progress, Shopper
from streams.stages.feedback.timers import EVERYTHING, PartitionTimers, Schedule


def test_a_key_is_taken_once_at_its_earliest_position() -> None:
    schedule = Schedule()
    for position in (30, 10, 20, None):
        schedule.add(position, b"a")
    schedule.add(15, b"b")
    assert schedule.take(9) == []
    assert schedule.take(15) == [(10, b"a"), (15, b"b")]
    assert schedule.take(EVERYTHING) == []
    schedule.add(5, b"a")
    assert schedule.take(EVERYTHING) == [(5, b"a")]


def test_what_was_due_comes_back_with_a_batch_that_comes_back() -> None:
    works = PartitionTimers(0)
    works.times.add(10, b"a")
    works.offsets.add(3, b"b")
    for _ in range(2):
        works.begin(True, 0, 5)
        works.watermark_ms, works.source_offset = 10, 3
        assert works.due(10, 3) == [b"a", b"b"]
        works.done()
    works.begin(True, 6, 9)
    assert works.due(10, 3) == []


def test_a_batch_that_raised_has_not_moved_the_watermark() -> None:
    works = PartitionTimers(0)
    works.begin(True, 0, 9)
    works.watermark_ms = 500
    works.begin(True, 0, 4)
    assert works.watermark_ms == 0
    works.watermark_ms = 100
    assert works.done() == Progress(4, 100, -1, -1)
    works.begin(True, 5, 9)
    assert works.watermark_ms == 100


def test_the_first_batch_after_a_take_over_tells_where_the_sources_are() -> None:
    before, after = Progress(9, 100, 3, 7), Progress(19, 200, 3, 7)
    shoppers = [Shopper(after=Progress(5, 90, 3, 7)), Shopper(before=before, after=after), Shopper()]
    works = PartitionTimers(0)
    works.restore(shoppers)
    assert (works.watermark_ms, works.source_offset) == (100, 7)
    works.begin(True, 10, 19)
    assert works.watermark_ms == 100, "the newest batch of the state comes again"
    works = PartitionTimers(0)
    works.restore(shoppers)
    works.begin(True, 20, 29)
    assert works.watermark_ms == 200
    works = PartitionTimers(0)
    works.restore([Shopper(before=after, after=Progress(19, 200, 5, 12))])
    works.begin(False, 4, 5)
    assert works.source_offset == 7
    works = PartitionTimers(0)
    works.restore([Shopper(before=after, after=Progress(19, 200, 5, 12))])
    works.begin(False, 6, 6)
    assert works.source_offset == 12
