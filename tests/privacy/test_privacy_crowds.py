"""Counting who shares something, against counting everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.crowds import CommonTexts, Crowds

moments = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.integers(0, 300)), max_size=60)


@given(moments, st.integers(2, 4))
def test_a_crowd_is_never_smaller_than_it_is_said_to_be(met: list[tuple[str, int, int]], k: int) -> None:
    crowds = Crowds(k, window_ms=100)
    seen: list[tuple[str, int, int]] = []
    for combination, shopper, time_ms in met:
        seen.append((combination, shopper, time_ms))
        around = {who for what, who, when in seen if what == combination and abs(when - time_ms) <= 100}
        if crowds.meets(combination, shopper, time_ms):
            assert len(around) >= k


@given(moments, st.integers(2, 4))
def test_in_the_order_of_time_what_half_the_window_holds_is_found(met: list[tuple[str, int, int]], k: int) -> None:
    crowds = Crowds(k, window_ms=100)
    ordered = sorted(met, key=lambda one: one[2])
    for number, (combination, shopper, time_ms) in enumerate(ordered):
        seen = ordered[: number + 1]
        whole, half = ({who for what, who, when in seen if what == combination and time_ms - when <= window} for window in (100, 50))
        found = crowds.meets(combination, shopper, time_ms)
        assert found or len(half) < k
        assert len(whole) >= k or not found
        assert crowds.knows(combination, time_ms) == found


def test_combinations_are_bounded_and_the_one_met_longest_ago_goes() -> None:
    crowds = Crowds(2, 100, kept=2)
    for combination in ("a", "b", "a", "c"):
        crowds.meets(combination, 1, 0)
    assert crowds.meets("a", 2, 0) and not crowds.meets("b", 2, 0)


@given(st.lists(st.tuples(st.sampled_from(["red bag", "包", "x"]), st.integers(1, 5)), max_size=40), st.integers(2, 4))
def test_a_text_is_common_once_k_shoppers_wrote_it(written: list[tuple[str, int]], k: int) -> None:
    texts = CommonTexts(k)
    writers: dict[str, set[int]] = {}
    for text, shopper in written:
        writers.setdefault(text, set()).add(shopper)
        assert texts.is_common(text, shopper) == (len(writers[text]) >= k)


def test_texts_are_bounded() -> None:
    texts = CommonTexts(2, kept=2)
    for text in ("a", "b", "c"):
        texts.is_common(text, 1)
    assert texts.is_common("c", 2) and not texts.is_common("a", 2)
