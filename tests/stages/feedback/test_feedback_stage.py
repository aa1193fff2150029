"""The feedback stage: what becomes of each recommended item, when, and what is learnt from it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from streams import topics
from streams.clock import FixedClock
from streams.engine.records import MemoryRecord
from streams.errors import Reason
from streams.serde.outcomes import each
from streams.serde.records import Feedback
from streams.stages.feedback.ledger import load
from tests.support.feedback_harness import (
    ANNA,
    BEN,
    MINUTE,
    RULES,
    State,
    event,
    feed,
    identity,
    make_stage,
    outcomes,
    outputs,
    recommendation,
    the_end,
)


def test_each_item_gets_its_strongest_outcome() -> None:
    stage, state = make_stage(), State()
    results = feed(
        stage,
        state,
        [
            [event(0, ANNA, "view", "x", 0)],
            [recommendation(0, ANNA, ["a", "b", "c", "d", "e"], 0, 0)],
            [
                event(1, ANNA, "impression", "a", 1),
                event(2, ANNA, "click", "a", 2),
                event(3, ANNA, "purchase", "a", 3),
                event(4, ANNA, "impression", "b", 3),
                event(5, ANNA, "dismiss", "c", 4),
                event(6, ANNA, "cart", "d", 40),  # after the window
            ],
            *the_end(),
        ],
    )
    assert outcomes(results) == {
        (ANNA, "a"): "purchase",
        (ANNA, "b"): "shown",
        (ANNA, "c"): "dismiss",
        (ANNA, "d"): "ignored",
        (ANNA, "e"): "ignored",
    }
    bought = next(f for f in outputs(results, topics.FEEDBACK) if f["item_id"] == "a")
    assert (bought["reward"], bought["shown"], bought["delay_ms"], bought["rank"]) == (1.0, True, 3 * MINUTE, 0)
    pairs = outputs(results, topics.TRAINING_PAIRS)
    assert {p["item_id"]: p["outcome"] for p in pairs if p["recommendation_id"]} == {"a": "purchase", "b": "shown", "c": "dismiss"}
    assert [h["ref"] for h in next(p for p in pairs if p["item_id"] == "a")["history"]] == ["x"]


def test_nobodys_events_leave_nothing_behind() -> None:
    stage, state = make_stage(), State()
    crowd = event(0, f"nobody.{'a' * 32}", "purchase", "x", 0)
    results = feed(stage, state, [[crowd, event(1, ANNA, "view", "x", 0), event(2, ANNA, "wishlist", "y", 1)], *the_end()])
    assert all(b"nobody" not in key for key in state.values)
    assert {p["item_id"]: p["outcome"] for p in outputs(results, topics.TRAINING_PAIRS)} == {"y": "click"}
    assert sum(result.rejected for result in results) == 0


def test_a_log_in_is_no_outcome_and_no_history() -> None:
    """Histories for training pairs are not linked: a purchase after the log-in is no answer to what the browser was recommended."""
    stage, state = make_stage(), State()
    known = event(2, ANNA, "identify", None, 2, linked_to=BEN)
    bought = [event(0, ANNA, "view", "x", 0), known, event(3, BEN, "purchase", "a", 3)]
    results = feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0)], bought, *the_end()])
    assert outcomes(results) == {(ANNA, "a"): "ignored"} and sum(result.rejected for result in results) == 0
    (pair,) = [p for p in outputs(results, topics.TRAINING_PAIRS) if p["outcome"] == "purchase"]
    assert pair["pseudonym"] == BEN and pair["history"] == [] and pair["recommendation_id"] is None


def test_one_record_a_recommendation_tells_the_same_as_one_an_item() -> None:
    def run(is_together: bool) -> list[list[dict[str, Any]]]:
        stage, state = make_stage(rules=replace(RULES, is_together=is_together)), State()
        results = feed(
            stage,
            state,
            [
                [event(0, ANNA, "view", "x", 0)],
                [recommendation(0, ANNA, ["a", "b", "c"], 0, 0), recommendation(1, BEN, ["d"], 0, 0)],
                [event(1, ANNA, "impression", "b", 1), event(2, ANNA, "purchase", "c", 3), event(3, BEN, "click", "d", 3)],
                *the_end(),
            ],
        )
        return [outputs(results, topics.FEEDBACK), outputs(results, topics.TRAINING_PAIRS)]

    apart, together = run(False), run(True)
    assert [len(apart[0]), len(together[0])] == [4, 2]
    assert {len(record["others"]) for record in together[0]} == {0, 2}
    expanded = [one for record in together[0] for one in each(cast(Feedback, record))]
    assert sorted(expanded, key=lambda one: one["feedback_id"]) == sorted(apart[0], key=lambda one: one["feedback_id"])
    assert together[1] == apart[1]


def test_an_interaction_that_names_another_recommendation_is_not_taken() -> None:
    stage, state = make_stage(), State()
    other = identity("another")
    results = feed(
        stage,
        state,
        [
            [recommendation(0, ANNA, ["a"], 0, 0)],
            [event(1, ANNA, "click", "a", 1, recommendation_id=other)],
            *the_end(),
        ],
    )
    assert outcomes(results) == {(ANNA, "a"): "ignored"}


def test_a_duplicate_event_counts_once() -> None:
    stage, state = make_stage(), State()
    twice = identity("the same")
    results = feed(
        stage,
        state,
        [
            [
                event(0, ANNA, "click", "a", 0, event_id=twice),
                event(1, ANNA, "click", "a", 0, event_id=twice),
            ],
            *the_end(),
        ],
    )
    assert len(outputs(results, topics.TRAINING_PAIRS)) == 1


def test_the_wall_clock_closes_what_an_idle_partition_leaves_open() -> None:
    clock = FixedClock(0)
    stage, state = make_stage(clock), State()
    feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0)]])
    clock.set(4_000)
    assert asyncio.run(stage.on_timer(0, state)).outputs == []
    clock.set(100 * MINUTE)
    result = asyncio.run(stage.on_timer(0, state))
    assert outcomes([result]) == {(ANNA, "a"): "ignored"}


def test_after_a_take_over_everything_open_is_still_due() -> None:
    state = State()
    feed(make_stage(), state, [[event(0, ANNA, "view", "x", 0)], [recommendation(0, ANNA, ["a"], 0, 0)]])
    successor = make_stage()
    asyncio.run(successor.on_assigned(0, list(state.values.items())))
    results = feed(successor, state, the_end())
    assert outcomes(results) == {(ANNA, "a"): "ignored"}


def test_a_bad_record_is_dead_lettered_beside_good_ones() -> None:
    stage, state = make_stage(), State()
    broken = MemoryRecord(topics.BEHAVIOUR_CLEAN, 0, 1, 0, ANNA.encode(), b"\x00garbage")
    stolen = event(2, ANNA, "click", "a", 0)._replace(key=BEN.encode())
    results = feed(stage, state, [[event(0, ANNA, "view", "a", 0), broken, stolen]])
    letters = outputs(results, topics.DEAD_LETTER)
    assert [letter["reason"] for letter in letters] == [Reason.UNKNOWN_SCHEMA, Reason.KEY_MISMATCH]
    assert results[0].rejected == 2
    assert results[0].reasons == {Reason.UNKNOWN_SCHEMA: 1, Reason.KEY_MISMATCH: 1}
    assert ANNA.encode() in state.values


def test_an_interaction_read_long_before_its_recommendation_still_counts() -> None:
    """A fast replay reads behaviour.clean far ahead of what profile has recommended."""
    events = [[event(0, ANNA, "view", "x", 0)], [event(1, ANNA, "purchase", "a", 2)], [event(2, BEN, "view", "z", 5000)]]
    recommended = [[recommendation(0, ANNA, ["a", "b"], 0, 0)]]
    ahead = feed(make_stage(), State(), [*events, *recommended, *the_end()])
    orderly = feed(make_stage(), State(), [*recommended, *events, *the_end()])
    assert outcomes(ahead) == outcomes(orderly) == {(ANNA, "a"): "purchase", (ANNA, "b"): "ignored"}
    assert [p["recommendation_id"] for p in outputs(ahead, topics.TRAINING_PAIRS)] == [identity("recommendation", 0)]


def test_recommendations_that_stay_away_are_not_waited_for() -> None:
    clock = FixedClock(0)
    stage, state = make_stage(clock), State()
    events = [event(0, ANNA, "purchase", "a", 0), event(1, BEN, "view", "z", 5000)]
    assert outputs(feed(stage, state, [events]), topics.TRAINING_PAIRS) == []
    clock.set(RULES.idle_ms)
    late = feed(stage, state, [[event(2, BEN, "view", "z", 5000)]])
    assert [(p["item_id"], p["outcome"]) for p in outputs(late, topics.TRAINING_PAIRS)] == [("a", "purchase")]


def test_a_recommendation_waits_for_a_later_one_that_may_have_caused_what_it_would_claim() -> None:
    first, second = recommendation(0, ANNA, ["a"], 0, 0), recommendation(1, ANNA, ["a"], 1, 2)
    click = event(3, ANNA, "click", "a", 2)
    jump = event(4, BEN, "view", "z", 5000)
    stage, state = make_stage(), State()
    results = feed(stage, state, [[first], [event(0, ANNA, "view", "x", 0), event(2, ANNA, "view", "y", 1), click, jump]])
    assert outcomes(results) == {}
    results += feed(stage, state, [[second], *the_end()])
    assert {f["recommendation_id"]: f["outcome"] for f in outputs(results, topics.FEEDBACK)} == {
        identity("recommendation", 0): "ignored",
        identity("recommendation", 1): "click",
    }


def test_what_one_recommendation_claimed_no_other_one_claims() -> None:
    """The later one in order is the earlier one in event time, so it closes first."""
    early, late = recommendation(0, ANNA, ["a"], 20, 5), recommendation(1, ANNA, ["a"], 19, 6)
    click = event(7, ANNA, "click", "a", 21)
    closes_one = event(8, BEN, "view", "z", 51)
    stage, state = make_stage(), State()
    results = feed(stage, state, [[early, late], [click, closes_one], [recommendation(2, BEN, ["q"], 51, 8)]])
    assert [f["recommendation_id"] for f in outputs(results, topics.FEEDBACK)] == [identity("recommendation", 1)]
    results += feed(stage, state, the_end())
    assert {f["recommendation_id"]: f["outcome"] for f in outputs(results, topics.FEEDBACK) if f["pseudonym"] == ANNA} == {
        identity("recommendation", 0): "ignored",
        identity("recommendation", 1): "click",
    }


def test_a_batch_that_comes_again_settles_the_same_shoppers() -> None:
    stage, state = make_stage(), State()
    feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0)]])
    batch = [event(1, BEN, "view", "z", 5000)]
    first, again = (asyncio.run(stage(batch, state)) for _ in range(2))
    assert first.outputs == again.outputs
    assert outcomes([again]) == {(ANNA, "a"): "ignored"}


def test_a_batch_written_in_part_meets_the_watermark_that_it_met_before() -> None:
    """Ben's event of the far future is in the state, Anna's click before it is not: it must not look late."""
    state = State()
    feed(make_stage(), state, [[recommendation(0, ANNA, ["a"], 0, 0), recommendation(1, BEN, ["q"], 0, 3)]])
    batch = [event(4, ANNA, "click", "a", 1), event(5, BEN, "view", "z", 5000)]
    result = asyncio.run(make_stage()(batch, state))
    written = result.state[BEN.encode()]
    assert written is not None
    state.values[BEN.encode()] = written
    successor = make_stage()
    asyncio.run(successor.on_assigned(0, list(state.values.items())))
    assert outcomes([result, *feed(successor, state, [batch, *the_end()])]) == {(ANNA, "a"): "click", (BEN, "q"): "ignored"}


def test_a_click_after_its_window_has_closed_is_late_after_a_take_over_too() -> None:
    state = State()
    feed(make_stage(), state, [[event(0, ANNA, "view", "x", 0), event(1, BEN, "view", "z", 5000)]])
    successor = make_stage()
    asyncio.run(successor.on_assigned(0, list(state.values.items())))
    results = feed(successor, state, [[event(2, ANNA, "click", "a", 1)], [recommendation(0, ANNA, ["a"], 0, 0)], *the_end()])
    assert outcomes(results) == {(ANNA, "a"): "ignored"}


def test_a_recommendation_told_twice_counts_once() -> None:
    stage, state = make_stage(), State()
    recommended = recommendation(0, ANNA, ["a"], 0, 0)
    results = feed(stage, state, [[recommended, recommended._replace(offset=1)], *the_end()])
    assert len(outputs(results, topics.FEEDBACK)) == 1


def test_a_training_pair_has_the_history_before_its_target_however_much_came_after() -> None:
    searches = [event(n, ANNA, "search", None, 0, query=f"q{n}") for n in range(40)]
    stage, state = make_stage(), State()
    batches = [[s] for s in searches]
    batches[10:10] = [[recommendation(0, ANNA, ["a"], 0, 9)]]
    results = feed(stage, state, [*batches, [event(40, ANNA, "click", "a", 1)], *the_end()])
    pair = next(p for p in outputs(results, topics.TRAINING_PAIRS) if p["recommendation_id"])
    assert [h["ref"] for h in pair["history"]] == [f"q{n}" for n in range(5, 10)]
    assert len(load(state.values[ANNA.encode()]).history) <= RULES.history_size


def test_the_state_of_a_shopper_is_bounded() -> None:
    """Nothing is ever recommended, and the watermark stands still."""
    stage, state = make_stage(), State()
    events = [event(n, ANNA, "view", f"i{n}", 0) for n in range(3000)]
    feed(stage, state, [events[n : n + 500] for n in range(0, len(events), 500)])
    shopper = load(state.values[ANNA.encode()])
    assert len(shopper.interactions) == RULES.interactions_kept
    assert len(shopper.history) <= RULES.interactions_kept + RULES.history_size


def test_who_did_nothing_for_too_long_goes_once_nothing_of_hers_is_waited_for() -> None:
    """The daily pass over the state finds her waiting, and must not be what she waits for."""
    day = 24 * 60
    stage, state = make_stage(rules=replace(RULES, max_age_ms=30 * day * MINUTE)), State()
    feed(stage, state, [[event(0, ANNA, "view", "x", 0), event(1, BEN, "view", "x", 40 * day)]])
    assert stage.expired(0, state.values) == [], "both wait for their windows to close"
    results = feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0), recommendation(1, BEN, ["a"], 40 * day, 1)]])
    results += feed(stage, state, [[event(2, BEN, "view", "y", 41 * day)], [recommendation(2, BEN, ["a"], 41 * day, 2)]])
    assert ANNA.encode() not in state.values and BEN.encode() in state.values
    assert sum(result.expired for result in results) == 1
    assert outcomes(results)[ANNA, "a"] == "ignored"
    again = feed(stage, state, [[recommendation(0, ANNA, ["a"], 0, 0)]])
    assert outcomes(again) == {} and ANNA.encode() not in state.values, "what was read before is not taken for new"
