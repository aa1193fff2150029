"""Cases from pairs: visits, what may be wanted in them, and nothing known too early."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.training.evaluation.pairs import HOUR_MS, cases_of, unexposed

DAY_MS = 24 * HOUR_MS


def pair(item: str, at_ms: int, *, user: str = "u", outcome: str = "purchase", reward: float = 1.0, history: Any = ()) -> Any:
    parts = [{"kind": kind, "ref": ref, "event_type": event_type, "age_ms": age} for kind, ref, event_type, age in history]
    return {
        "pair_id": f"{user}/{item}/{at_ms}",
        "pseudonym": user,
        "history": parts,
        "item_id": item,
        "outcome": outcome,
        "reward": reward,
        "recommendation_id": None,
        "rank": None,
        "model_version": None,
        "occurred_at": at_ms,
    }


def test_a_visit_is_one_case_and_its_own_lines_are_no_history() -> None:
    past = ("item", "old", "view", DAY_MS)
    first = pair("a", 10 * DAY_MS, history=[past])
    second = pair("b", 10 * DAY_MS, history=[past, ("item", "a", "purchase", 0)])
    (case,) = cases_of([second, first])
    assert case.targets == {"a", "b"}
    assert [(p.kind, p.ref, p.age_ms) for p in case.history] == [("item", "old", DAY_MS)]
    assert case.history[0].weight == 0.2
    assert not case.excluded


def test_what_was_bought_lately_or_dismissed_is_no_target() -> None:
    pairs = [
        pair("a", 0),
        pair("b", 1000, outcome="dismiss", reward=-0.5),
        pair("a", 10 * DAY_MS),
        pair("b", 10 * DAY_MS),
        pair("c", 10 * DAY_MS, history=[]),
        pair("a", 200 * DAY_MS),
    ]
    found = cases_of(pairs)
    assert [(case.at_ms, case.targets, case.excluded) for case in found] == [
        (0, {"a"}, frozenset()),
        (10 * DAY_MS, {"c"}, {"a", "b"}),
        (200 * DAY_MS, {"a"}, frozenset()),
    ]
    assert [case.events for case in found] == [0, 1, 4]


def test_to_be_shown_is_no_visit_and_takes_no_dismissal_back() -> None:
    pairs = [pair("a", 0, outcome="dismiss", reward=-0.5), pair("a", DAY_MS, outcome="shown", reward=0.0), pair("b", DAY_MS + 1)]
    (case,) = cases_of(pairs)
    assert (case.at_ms, case.targets, case.excluded) == (DAY_MS + 1, {"b"}, {"a"})
    (again,) = cases_of([pairs[0], pair("a", DAY_MS, outcome="click", reward=0.2), pair("a", 9 * DAY_MS)], since_ms=2 * DAY_MS)
    assert again.targets == {"a"}


def test_purchases_in_the_history_close_items_too() -> None:
    history = [("item", "a", "purchase", 10 * DAY_MS), ("item", "b", "purchase", 100 * DAY_MS), ("query", "red tea", "search", DAY_MS)]
    (case,) = cases_of([pair("a", 300 * DAY_MS, history=history), pair("b", 300 * DAY_MS, history=history)])
    assert case.targets == {"b"}
    assert case.excluded == {"a"}
    assert [p.kind for p in case.history] == ["item", "item", "query"]


moments = st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdef"), st.integers(0, 100), st.sampled_from([-0.5, 0.0, 1.0])))


@given(moments, st.integers(0, 100))
def test_cases_are_ordered_and_their_targets_could_be_recommended(drawn: list[tuple[str, str, int, float]], since: int) -> None:
    pairs = [pair(item, hours * HOUR_MS, user=user, reward=reward) for user, item, hours, reward in drawn]
    found = cases_of(pairs, since_ms=since * HOUR_MS)
    assert [case.at_ms for case in found] == sorted(case.at_ms for case in found)
    positive = {(p["pseudonym"], p["item_id"]) for p in pairs if p["reward"] > 0}
    for case in found:
        assert case.at_ms >= since * HOUR_MS
        assert case.targets
        assert not case.targets & case.excluded
        assert {(case.user, item) for item in case.targets} <= positive
    everything = cases_of(pairs)
    assert found == [case for case in everything if case.at_ms >= since * HOUR_MS], "a later start changes nothing that comes after it"


def test_what_was_recommended_is_neither_a_target_nor_in_the_way() -> None:
    shown = {"rank": 3, "recommendation_id": "r", "model_version": "m"}
    pairs = [
        {**pair("early", DAY_MS, outcome="shown", reward=0.0), **shown},
        pair("alone", 10 * DAY_MS),
        {**pair("followed", 10 * DAY_MS), **shown},
        pair("shown meanwhile", 10 * DAY_MS),
        {**pair("shown meanwhile", 10 * DAY_MS + 2 * HOUR_MS, outcome="shown", reward=0.0), **shown},
        {**pair("later", 11 * DAY_MS, outcome="shown", reward=0.0), **shown},
        {**pair("alone", 10 * DAY_MS, user="u2"), **shown},
    ]
    cases = cases_of(pairs)
    assert [sorted(case.targets) for case in cases] == [["alone", "followed", "shown meanwhile"], ["alone"]]
    (case,) = unexposed(cases, pairs, window_ms=HOUR_MS)
    assert case.targets == {"alone"}
    assert case.excluded == {"early", "followed", "shown meanwhile"}


@given(moments)
def test_without_recommendations_every_case_stays_as_it_is(drawn: list[tuple[str, str, int, float]]) -> None:
    pairs = [pair(item, hours * HOUR_MS, user=user, reward=reward) for user, item, hours, reward in drawn]
    cases = cases_of(pairs)
    assert unexposed(cases, pairs, window_ms=HOUR_MS) == cases


@given(moments, st.lists(st.booleans(), max_size=30))
def test_targets_and_exclusions_never_meet(drawn: list[tuple[str, str, int, float]], recommended: list[bool]) -> None:
    ranks = [0 if flag else None for flag in recommended] + [None] * len(drawn)
    pairs = [
        {**pair(item, hours * HOUR_MS, user=user, reward=reward), "rank": rank}
        for (user, item, hours, reward), rank in zip(drawn, ranks, strict=False)
    ]
    cases = {(case.user, case.at_ms): case for case in cases_of(pairs)}
    for case in unexposed(cases.values(), pairs, window_ms=HOUR_MS):
        before = cases[case.user, case.at_ms]
        assert case.targets
        assert case.targets <= before.targets
        assert case.excluded >= before.excluded
        assert not case.targets & case.excluded
