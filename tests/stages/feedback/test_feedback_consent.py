"""Nothing is learnt from a shopper who does not allow it: not from then on, and not from what is not settled yet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.engine.records import MemoryRecord
from streams.privacy.consent import PERSONALIZATION, TRAINING
from streams.stages.feedback.ledger import load
from tests.support.feedback_harness import ANNA, BEN, CODECS, END, State, event, feed, make_stage, outputs, recommendation, the_end


def consent(offset: int, user: str, *refused: str) -> MemoryRecord:
    return event(offset, user, "consent", None, 10**9, refused=list(refused))


def erase(offset: int, user: str, item: str | None = None) -> MemoryRecord:
    return event(offset, user, "erase", item, 10**9)


def untrainable(record: MemoryRecord) -> MemoryRecord:
    codec = CODECS.for_topic(topics.RECOMMENDATIONS)
    return record._replace(value=codec.encode({**codec.decode(record.value), "trainable": False}))


def learnt(results: Any, user: str = ANNA) -> int:
    return sum(one["pseudonym"] == user for topic in (topics.FEEDBACK, topics.TRAINING_PAIRS) for one in outputs(results, topic))


def test_what_is_not_settled_is_dropped() -> None:
    for refused in (PERSONALIZATION, TRAINING):
        stage, state = make_stage(), State()
        events = [event(n, user, "purchase", "a", 1) for n, user in enumerate((ANNA, BEN))]
        results = feed(
            stage,
            state,
            [
                [recommendation(0, ANNA, ["a"], -1, 0), recommendation(1, BEN, ["a"], -1, 0)],
                [*events, consent(2, ANNA, refused)],
                *the_end(),
            ],
        )
        assert learnt(results) == 0 and learnt(results, BEN) == 2
        assert b'"a"' not in state.values[ANNA.encode()] and len(state.values[ANNA.encode()]) < 100


def test_a_recommendation_from_before_that_is_read_later_is_not_settled_either() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [event(0, ANNA, "view", "x", 0), consent(1, ANNA, TRAINING), consent(2, ANNA), event(3, ANNA, "view", "y", 5)],
            [recommendation(0, ANNA, ["a"], 0, 0), recommendation(1, ANNA, ["b"], 3, 5)],
            *the_end(),
        ],
    )
    assert {one["item_id"] for one in outputs(results, topics.FEEDBACK)} == {"b"}


def test_events_and_lists_of_who_refuses_are_left_out() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [untrainable(recommendation(0, ANNA, ["a"], 0, 0))],
            [event(0, ANNA, "view", "a", 0, refused=[TRAINING]), event(1, ANNA, "purchase", "a", 1, refused=[TRAINING])],
            *the_end(),
        ],
    )
    assert learnt(results) == 0 and ANNA.encode() not in state.values


def test_the_time_of_a_decision_is_no_event_time() -> None:
    """A decision of today among a year's events that are published again must not close their windows."""
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [recommendation(0, BEN, ["a"], 0, 0)],
            [event(0, BEN, "view", "x", 0), consent(1, ANNA), event(2, BEN, "purchase", "a", 3)],
            *the_end(),
        ],
    )
    assert {one["outcome"] for one in outputs(results, topics.FEEDBACK)} == {"purchase"}


def test_an_erased_shopper_is_gone_once_her_recommendations_are_read() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [event(0, ANNA, "view", "x", 0), event(1, ANNA, "purchase", "a", 1), erase(2, ANNA)],
            [recommendation(0, ANNA, ["a"], 0, 0)],
        ],
    )
    assert state.values.get(ANNA.encode()) is not None, "one from before the erasure may still come"
    results += feed(stage, state, [[recommendation(1, BEN, ["b"], 3, 3)], *the_end()])
    assert ANNA.encode() not in state.values and learnt(results) == 0
    results += feed(make_stage(), state, [[event(END + 5, ANNA, "purchase", "c", END + 1)]])
    assert ANNA.encode() in state.values


def test_an_erased_item_is_in_no_pair() -> None:
    stage, state = make_stage(), State()
    batch = [
        event(0, ANNA, "purchase", "a", 0),
        event(1, ANNA, "purchase", "b", 1),
        erase(2, ANNA, "a"),
        event(3, ANNA, "purchase", "c", 3),
    ]
    results = feed(stage, state, [[recommendation(0, ANNA, ["a", "b"], -1, 0)], batch, *the_end()])
    pairs = outputs(results, topics.TRAINING_PAIRS)
    assert {pair["item_id"] for pair in pairs} == {"b", "c"}
    assert "a" not in {past["ref"] for pair in pairs for past in pair["history"]}
    assert outputs(results, topics.FEEDBACK) == [], "a list that names it is settled no more"


def test_a_list_with_an_erased_item_that_is_read_later_is_not_settled_and_the_mark_goes() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [event(0, ANNA, "view", "x", 0), erase(1, ANNA, "a"), event(2, ANNA, "purchase", "b", 2), event(3, ANNA, "view", "y", 3)],
            [recommendation(0, ANNA, ["a", "b"], 0, 0), recommendation(1, ANNA, ["b", "a"], 3, 3)],
        ],
    )
    results += feed(stage, state, the_end())
    assert {(one["item_id"], one["rank"]) for one in outputs(results, topics.FEEDBACK)} == {("b", 0), ("a", 1)}
    assert load(state.values[ANNA.encode()]).forgotten == {}


@pytest.mark.slow
@given(st.lists(st.sampled_from(["view", "purchase", "refuse", "agree", "erase", "erase item"]), max_size=12), st.data())
def test_batches_and_repeats_do_not_matter(kinds: list[str], data: st.DataObject) -> None:
    made = {
        "refuse": lambda n: consent(n, ANNA, TRAINING),
        "agree": lambda n: consent(n, ANNA),
        "erase": lambda n: erase(n, ANNA),
        "erase item": lambda n: erase(n, ANNA, f"i{n % 3}"),
    }
    records = [made[kind](n) if kind in made else event(n, ANNA, kind, f"i{n % 3}", n) for n, kind in enumerate(kinds)]
    lists = [recommendation(n, ANNA, ["i0", "i1"], n, n) for n, kind in enumerate(kinds) if kind == "view"]

    def settled(batches: list[list[MemoryRecord]]) -> set[str]:
        results = feed(make_stage(), State(), [*batches, *the_end()])
        return {str(one) for topic in (topics.FEEDBACK, topics.TRAINING_PAIRS) for one in outputs(results, topic)}

    cut = data.draw(st.integers(0, len(records)))
    cut_lists = data.draw(st.integers(0, len(lists)))
    parts = [records[:cut], records[:cut], lists[:cut_lists], records[cut:], lists[cut_lists:], lists[cut_lists:]]
    assert settled([records, lists]) == settled([lists, records]) == settled(parts)
    # Neither topic is committed, and all that was written comes again: to whoever is gone by then, too.
    assert (
        settled([records, lists])
        == settled([records, lists, records, lists])
        == settled([lists, records, lists, *the_end(), records, lists])
    )


def test_who_is_gone_stays_gone_should_everything_be_read_again() -> None:
    stage, state = make_stage(), State()
    batch = [event(0, ANNA, "view", "x", 0), event(1, ANNA, "purchase", "a", 1), erase(2, ANNA)]
    lists = [recommendation(0, ANNA, ["a"], 0, 0), recommendation(1, BEN, ["b"], 3, 3)]
    feed(stage, state, [batch, lists, *the_end()])
    assert ANNA.encode() not in state.values
    results = feed(make_stage(), state, [batch, lists, *the_end()])
    assert ANNA.encode() not in state.values and learnt(results) == 0


def test_outcomes_are_counted_by_model_and_policy() -> None:
    events = [event(0, ANNA, "view", "x", 0), event(1, ANNA, "purchase", "a", 3)]
    results = feed(make_stage(), State(), [[recommendation(0, ANNA, ["a", "b"], 0, 0)], events, *the_end()])
    counts = [one for result in results for output in result.outputs if output.topic == topics.FEEDBACK for one in output.counts]
    assert {outcome for outcome, _, _ in counts} == {"purchase", "ignored"}
    assert len({(policy, version) for _, policy, version in counts}) == 1 and len(counts) == 2
