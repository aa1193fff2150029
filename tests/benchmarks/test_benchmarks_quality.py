"""The pure parts of the quality benchmark: judging lists, leaving features out, choosing settings, and the peer's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import metarank
from benchmarks.fitted import K, Told, judge
from benchmarks.quality_ranker import GROUPS, without
from benchmarks.retail import DAY_S
from benchmarks.tune import tune
from streams.ranking.learned.features import FEATURES, PLACE
from streams.ranking.request import Entry, Request
from streams.training.learned.lists import Lists
from streams.training.learned.past import Wanted


def lists_of(labels: list[list[int]], wanted: list[int], seed: int = 0) -> Lists:
    sizes = np.array([len(own) for own in labels], np.int64)
    count = int(sizes.sum())
    levels = np.random.default_rng(seed).integers(0, 256, (count, len(FEATURES))).astype(np.uint8)
    flat = np.array([label for own in labels for label in own], np.int8)
    return Lists(levels, flat, sizes, np.zeros(len(sizes), np.int64), np.array(wanted, np.int64), np.zeros(count, np.float32), {})


@given(st.data())
def test_judging_is_hit_and_ndcg_of_each_list(data: Any) -> None:
    labels = data.draw(st.lists(st.lists(st.sampled_from([0, 0, 3]), max_size=15), min_size=1, max_size=5))
    wanted = [max(1, sum(label > 0 for label in own)) + data.draw(st.integers(0, 3)) for own in labels]
    scores = np.array([data.draw(st.permutations(range(len(own)))) for own in labels], dtype=object)
    hit, ndcg = judge(lists_of(labels, wanted), np.array([score for own in scores for score in own], np.float64))
    for own, order, many, found, gain in zip(labels, scores, wanted, hit, ndcg, strict=True):
        best = [own[place] > 0 for place in sorted(range(len(own)), key=lambda place: -order[place])][:K]
        assert found == any(best)
        ideal = sum(1 / np.log2(place + 2) for place in range(min(many, K)))
        assert gain == pytest.approx(sum(1 / np.log2(place + 2) for place, yes in enumerate(best) if yes) / ideal)


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_group_its_features_say_nothing_and_the_others_are_as_before(group: str) -> None:
    lists = lists_of([[0, 3], [1]], [1, 1])
    left = without(lists, {group})
    for place, feature in enumerate(FEATURES):
        expected = np.zeros(3) if feature.group == group else lists.levels[:, place]
        np.testing.assert_array_equal(left.levels[:, place], expected)
    assert (lists.levels != 0).any(), "the lists themselves are as they were"


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="no such group of features: colour"):
        without(lists_of([[0]], [1]), {"colour"})


def test_settings_are_chosen_one_after_the_other() -> None:
    asked = []

    def value(settings: dict[str, Any]) -> float:
        asked.append(dict(settings))
        return -abs(settings["a"] - 3) - abs(settings["b"] - 1)

    start = {"a": 1, "b": 5}
    assert tune(value, start, {"a": (2, 3, 4), "b": (1, 9)}) == {"a": 3, "b": 1}
    assert start == {"a": 1, "b": 5}
    assert len(asked) == len({tuple(one.values()) for one in asked}), "nothing is asked twice"


SECOND = 100 * DAY_S


def told() -> tuple[Told, metarank.Facts]:
    """Two shoppers: one with red socks long ago and a green hat just now, one without a past."""
    words, lengths = metarank.matrix_of(["Red SOCKS", "the green hat", "a red hat of wool", "blue sock"])
    seconds = np.array([SECOND - 40 * DAY_S, SECOND - 6 * DAY_S, SECOND - 2 * DAY_S, SECOND, SECOND + 1])
    known = metarank.Facts(
        {name: n for n, name in enumerate("abcd")}, np.array([1, 2, 4, 9], np.float32), words, lengths, np.array([2, 2, 3, 3, 2]), seconds
    )
    entries = [Entry(1.0, round((SECOND - 30 * DAY_S) * 1000), 4), Entry(1.0, round((SECOND - 60) * 1000), 4)]
    at_ms = round(SECOND * 1000)
    requests = [Request(["a", "b"], entries, [], None, ["a", "b"], at_ms), Request([], [], [], None, [], at_ms)]
    wanted = [Wanted(str(n), request, {"c": 3}, at_ms) for n, request in enumerate(requests)]
    return Told(at_ms, wanted, lists_of([[3, 0], [0, 3, 0]], [1, 1]), ["c", "d", "a", "c", "d"]), known


def test_the_peers_features_are_what_was_known_at_the_moment() -> None:
    one, known = told()
    found = dict(zip(metarank.FEATURES, metarank.table(one, known).T.tolist(), strict=True))
    assert [len(column) for column in found.values()] == [5] * len(metarank.FEATURES)
    assert found["window_count of purchases, item, 3 d"] == [0, 1, 0, 0, 1]
    assert found["window_count of purchases, item, 7 d"] == [1, 1, 0, 1, 1]
    assert found["window_count of purchases, item, 60 d"] == [2, 1, 0, 2, 1]
    assert found["interaction_count of purchases, item"] == [2, 1, 0, 2, 1], "what is bought at the moment or later is not known"
    assert found["interaction_count of purchases, user"] == [2, 2, 0, 0, 0]
    np.testing.assert_allclose(found["item_age"], np.array([40, 2, np.nan, 40, 2]) * DAY_S)
    assert found["number: price"] == [4, 9, 1, 4, 9]
    assert found["diversity of price"] == [-2.5, 2.5, -3, 0, 5]
    assert found["word_count of the title"] == [5, 2, 2, 5, 2]
    assert found["interacted_with, words of titles, user"] == [2, 1, 0, 0, 0], "red and hat; sock"
    assert found["interacted_with, words of titles, last session"] == [1, 0, 0, 0, 0], "hat"
    np.testing.assert_allclose(found["field_match term, titles of the last session"], [1 / 4, 0, 0, 0, 0], rtol=1e-6)
    assert found["field_match transformer, titles of the user"] == one.lists.levels[:, PLACE["text_history"]].tolist()


def test_the_ten_latest_and_the_last_session() -> None:
    times = [5, 9, 1, *range(100, 109), 2_000_000]
    assert metarank.ten_of(times) == list(range(3, 13))
    assert metarank.session_of(times) == [12]
    assert (metarank.ten_of([]), metarank.session_of([])) == ([], [])


def test_the_peer_learns_what_is_taken() -> None:
    rng = np.random.default_rng(4)
    values = rng.random((400, 10, 2)).astype(np.float32)
    labels = (values[:, :, 1] == values[:, :, 1].max(axis=1, keepdims=True)).astype(int).tolist()
    lists = lists_of(labels, [1] * 400)
    one = Told(0, [], lists, [])
    flat = values.reshape(-1, 2)
    model = metarank.fitted([one], [flat], metarank.SETTINGS | {"sampling": 1.0})
    _, ndcg = judge(lists, np.asarray(model.predict(flat)))
    assert ndcg.mean() > 0.9
    again = metarank.fitted([one], [flat], metarank.SETTINGS | {"sampling": 1.0})
    np.testing.assert_array_equal(model.predict(flat), again.predict(flat))
