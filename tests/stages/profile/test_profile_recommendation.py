from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.request import Ranked, Source
from streams.stages.profile.profile import IssuedRecommendation, Profile, dump_profile, load_profile, unpack_issued
from streams.stages.profile.recommendation import make, recommendation_id, remember, to_record
from streams.stages.profile.recommendation_writer import RecommendationWriter
from streams.topics import RECOMMENDATIONS
from tests.support.profile_harness import CODECS, START_MS, event
from tests.support.rules import profile_rules

RULES = profile_rules(recommended_cooldown_ms=1000, recommended_size=3, made_size=2)
CODEC = CODECS.for_topic(RECOMMENDATIONS)
text = st.text(st.characters(codec="utf-8"), max_size=80)
sources = st.builds(Source, st.sampled_from(("item", "query", "popularity")), st.none() | text, st.none() | st.integers(0, 7))
number = st.floats(-2, 2, width=32)


@st.composite
def recommendations(draw: st.DrawFn) -> IssuedRecommendation:
    items = draw(st.lists(text, max_size=4))
    known = draw(st.lists(sources, min_size=1, max_size=5))
    width = draw(st.integers(0, 3))
    count = len(items) * width
    return IssuedRecommendation(
        offset=draw(st.integers(0, 2**63 - 1)),
        recommendation_id=draw(st.binary(min_size=16, max_size=16)),
        model_version=draw(text),
        policy=draw(st.sampled_from(("behaviour", "search"))),
        threshold=draw(number),
        items=items,
        scores=np.array(draw(st.lists(number, min_size=2 * len(items), max_size=2 * len(items))), "<f4").tobytes(),
        sources=known,
        reasons=np.array(draw(st.lists(st.integers(0, len(known) - 1), min_size=count, max_size=count)), "<u2").tobytes(),
        shares=np.array(draw(st.lists(number, min_size=count, max_size=count)), "<f4").tobytes(),
    )


@settings(max_examples=60, deadline=None)
@given(recommendations(), text, st.binary(max_size=200), st.integers(-(2**63), 2**63 - 1))
def test_writing_directly_gives_the_codecs_bytes(issued: IssuedRecommendation, pseudonym: str, sealed: bytes, time_ms: int) -> None:
    writer = RecommendationWriter(CODEC)
    assert writer.direct
    one: Any = event(0, "a", "click", "i1") | {"pseudonym": pseudonym, "sealed_id": sealed, "occurred_at": time_ms}
    assert writer.encode(issued, one) == CODEC.encode(to_record(issued, one))


class Grown:
    """The codec of a schema that has grown a field in front."""

    def encode(self, record: Any) -> bytes:
        return CODEC.encode(record)[:5] + b"\x00" + CODEC.encode(record)[5:]


def test_a_schema_it_does_not_know_is_left_to_the_codec() -> None:
    writer = RecommendationWriter(Grown())  # type: ignore[arg-type]
    issued = IssuedRecommendation(1, b"x" * 16, "v", "search", 0.1, ["i"], np.zeros(2, "<f4").tobytes(), [], b"", b"")
    assert not writer.direct
    assert writer.encode(issued, event(0, "a", "view")) == Grown().encode(to_record(issued, event(0, "a", "view")))  # type: ignore[arg-type]


def test_an_id_tells_shopper_event_and_model_apart() -> None:
    ids = {recommendation_id(*names) for names in (("a", "b", "c"), ("ab", "", "c"), ("a", "b", "d"), ("a", "c", "b"), ("b", "a", "c"))}
    assert len(ids) == 5
    assert {len(one) for one in ids} == {16}
    assert recommendation_id("a", "b", "c") == recommendation_id("a", "b", "c")


def made_at(offset: int, items: list[str]) -> IssuedRecommendation:
    ranked = Ranked(
        items, np.zeros((len(items), 2), np.float32), [], np.zeros((len(items), 0), np.uint16), np.zeros((len(items), 0), np.float32)
    )
    return make(event(offset, "a", "view"), offset, "behaviour", ranked, model_version="v", rules=RULES)  # type: ignore[arg-type]


def test_a_profile_remembers_what_is_recent_and_no_more() -> None:
    profile = Profile()
    for offset, (time_ms, items) in enumerate([(0, ["a"]), (500, ["b"]), (900, ["c"]), (950, ["d"]), (1600, ["e"])]):
        remember(profile, made_at(offset, items), START_MS + time_ms, RULES)
    assert [items for _, items in profile.recommended] == [["c"], ["d"], ["e"]]
    assert [unpack_issued(data).items for _, data in profile.issued] == [["d"], ["e"]]
    assert [offset for offset, _ in profile.issued] == [3, 4]
    assert load_profile(dump_profile(profile)) == profile
