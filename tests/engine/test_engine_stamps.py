"""What the headers of outputs tell of the topic whose records caused them."""

from __future__ import annotations

import doctest

from streams.engine import stamps as module
from streams.engine.resume import Seen
from streams.engine.stamps import seen_in, source_tag, stamp_of

NOW, BEFORE = 7, 8
A, B = ("out", b"a"), ("out", b"b")


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_tags_tell_partitions_and_stages_apart() -> None:
    tags = [source_tag(stage, partition) for stage in ("ingest", "profile") for partition in range(100)]
    assert len(set(tags)) == len(tags) and {len(tag) for tag in tags} == {4}


def test_nothing_is_seen_in_nothing() -> None:
    assert seen_in({}, NOW) == Seen(set(), 0, -1)


def test_what_an_earlier_topic_of_the_name_caused_is_not_written_for_this_one() -> None:
    assert seen_in({stamp_of(NOW, 5): {A}, stamp_of(BEFORE, 9): {B}}, NOW) == Seen({A}, 5, 9)


def test_where_the_broker_tells_no_topics_apart_all_count() -> None:
    assert seen_in({stamp_of(0, 0): {A}, stamp_of(0, 9): {B}}, 0) == Seen({A, B}, 9, -1)


def test_outputs_from_before_there_were_stamps_count() -> None:
    assert seen_in({b"": {A}, stamp_of(NOW, 0): {B}}, NOW) == Seen({A, B}, 0, -1)
