"""The feedback stage moves what pairs are made of, and settles what is open where it is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.engine.records import BatchResult, MemoryRecord
from streams.privacy.moves import Announcement
from streams.stages.feedback.ledger import MovedPast, Shopper, dump, load
from streams.stages.feedback.moves import FeedbackMove, arrive, newest
from streams.stages.feedback.stage import FeedbackStage
from tests.support.feedback_harness import MINUTE, State, event, feed, make_stage, outputs, recommendation, the_end
from tests.support.rotations import READER, SEALER

OLD, NEW = "k1." + "a" * 32, "k2." + "a" * 32
Moves = list[MemoryRecord]
WEEK = 7 * 24 * 60


def move(offset: int, what: str = "move", **more: Any) -> MemoryRecord:
    said = Announcement(b"%16d" % offset, what, OLD, NEW, **more)  # type: ignore[arg-type]
    return event(offset, f"nobody.{offset}", "move", None, 0, move=SEALER.seal("announcement", said))


def moved(results: list[BatchResult], first: int = 0) -> Moves:
    found = [o for result in results for o in result.outputs if o.topic == topics.PRIVACY_MOVES]
    assert all(o.key is None and o.partition is None and o.partition_key == NEW.encode() for o in found)
    return [MemoryRecord(topics.PRIVACY_MOVES, 0, first + n, 0, None, o.value) for n, o in enumerate(found)]


def stage() -> FeedbackStage:
    return make_stage(moves=READER)


def test_pairs_have_the_history_of_before() -> None:
    works, state = stage(), State()
    told = feed(works, state, [[event(0, OLD, "view", "a", 0), event(1, OLD, "view", "b", 1), move(2)]])
    feed(works, state, [moved(told)])
    bought = [event(3, NEW, "purchase", "c", 5), event(4, NEW, "purchase", "d", WEEK)]
    results = feed(works, state, [bought, *the_end()])
    early, late = [pair for pair in outputs(results, topics.TRAINING_PAIRS) if pair["pseudonym"] == NEW]
    assert early["history"] == [], "the topics still have the old pseudonym's events: both would be known to be one"
    assert [past["ref"] for past in late["history"]] == ["a", "c"], "what is older than the topics keep it"
    assert late["history"][0]["age_ms"] == WEEK * MINUTE
    assert OLD.encode() not in state.values, "what was open is settled, so nothing of the old pseudonym is left"


def test_what_is_open_is_settled_by_what_was_done_before() -> None:
    works, state = stage(), State()
    results = feed(
        works,
        state,
        [
            [event(0, OLD, "view", "a", 0), event(1, OLD, "view", "z", 0)],
            [recommendation(0, OLD, ["x", "y"], 0, 0), recommendation(1, OLD, ["v", "w"], 0, 1)],
            [event(2, OLD, "click", "x", 1), move(3), event(4, NEW, "purchase", "y", 2), event(5, NEW, "click", "v", 2)],
        ],
    )
    feed(works, state, [moved(results)])
    results += feed(works, state, the_end())
    told = {(one["pseudonym"], one["item_id"]): one["outcome"] for one in outputs(results, topics.FEEDBACK)}
    # Of the list with a reaction all is told; of the other that there was none is not: there may have been, under another name.
    assert told == {(OLD, "x"): "click", (OLD, "y"): "ignored"}
    pairs = {(pair["pseudonym"], pair["item_id"], pair["recommendation_id"] is None) for pair in outputs(results, topics.TRAINING_PAIRS)}
    assert (NEW, "y", True) in pairs and (NEW, "v", True) in pairs, "they are examples still"
    assert OLD.encode() not in state.values


def test_what_comes_again_moves_nothing_again() -> None:
    works, state = stage(), State()
    batch = [event(0, OLD, "view", "a", 0), move(1)]
    first = feed(works, state, [batch])
    assert len(moved(first)) == 1 and not moved(feed(works, state, [batch]))
    records = moved(first)
    feed(works, state, [records])
    before = dict(state.values)
    assert not feed(works, state, [records])[0].state and state.values == before


def test_a_refusal_goes_along_until_she_decides_anew() -> None:
    works, state = stage(), State()
    told = feed(works, state, [[event(0, OLD, "consent", None, 0, refused=["training"]), event(1, OLD, "view", "a", 1), move(2)]])
    feed(works, state, [moved(told)])
    assert load(state.values[NEW.encode()]).refuses
    feed(works, state, [[event(3, NEW, "view", "b", 2)]])
    assert not load(state.values[NEW.encode()]).history
    feed(works, state, [[event(4, NEW, "consent", None, 0), event(5, NEW, "view", "c", 3)]])
    shopper = load(state.values[NEW.encode()])
    assert not shopper.refuses and [past.ref for past in shopper.history] == ["c"]


def test_forgotten_under_both_whatever_comes_first() -> None:
    for state_first in (True, False):
        works, state = stage(), State()
        told = feed(works, state, [[event(0, OLD, "view", "a", 0), move(1)]])
        forgets = feed(works, state, [[move(2, "forget", request_id="r")]])
        erase = [event(3, NEW, "erase", None, 0)]
        for step in (moved(told), erase) if state_first else (erase, moved(told)):
            feed(works, state, [step])
        feed(works, state, [moved(forgets, first=5)])
        feed(works, state, the_end())
        assert not {OLD.encode(), NEW.encode()} & state.values.keys(), state_first


def pasts() -> st.SearchStrategy[list[MovedPast]]:
    one = st.builds(
        MovedPast, st.sampled_from([b"1", b"2"]), st.integers(0, 4), st.integers(0, 9), st.just("item"), st.just("a"), st.just("view")
    )
    return st.lists(one, max_size=6, unique_by=lambda past: (past.move, past.offset))


@given(st.lists(st.tuples(pasts(), st.booleans()), max_size=4), st.data())
def test_the_result_depends_on_no_order_and_on_no_repeat(states: list[tuple[list[MovedPast], bool]], data: st.DataObject) -> None:
    moves = [FeedbackMove(b"%16d" % n, "state", OLD, NEW, history=history, is_refused=r) for n, (history, r) in enumerate(states)]
    expected, found = Shopper(), Shopper()
    for one in moves:
        arrive(expected, one, 3)
    repeated = data.draw(st.lists(st.sampled_from(moves), max_size=3)) if moves else []
    for one in data.draw(st.permutations([*moves, *repeated])):
        arrive(found, one, 3)
        found = load(dump(found))
    assert dump(found) == dump(expected)
    assert newest(expected.moved, 3) == expected.moved


def test_what_a_move_costs() -> None:
    """A day of lists, each with a reaction some minutes later, and one move in it: which reactions are credited to their lists."""
    from random import Random

    rng, people, lists = Random(5), 100, 24
    credited = dict.fromkeys(("moved", "not moved"), 0)
    for name in credited:
        works, state = stage(), State()
        steps: list[tuple[float, int, str, int]] = []
        switch = {}
        for who in range(people):
            switch[who] = rng.uniform(0, 24 * 60) if name == "moved" else 10**9
            for number in range(lists):
                at = number * 60 + rng.uniform(0, 20)
                steps += [(at, who, "view", number), (at + rng.uniform(0.5, 30), who, "react", number)]
        results: list[BatchResult] = []
        offset = 0
        moved_already: set[int] = set()
        for at, who, kind, number in sorted(steps):
            names = ("k1." + f"{who:032}", "k2." + f"{who:032}")
            if at >= switch[who] and who not in moved_already:
                moved_already.add(who)
                said = Announcement(b"%16d" % who, "move", *names)
                results += feed(
                    works, state, [[event(offset, f"nobody.{offset}", "move", None, 0, move=SEALER.seal("announcement", said))]]
                )
                offset += 1
            current = names[who in moved_already]
            what = "view" if kind == "view" else "click"
            results += feed(works, state, [[event(offset, current, what, f"i{number}" if kind == "react" else "x", int(at))]])
            if kind == "view":
                results += feed(works, state, [[recommendation(offset, current, [f"i{number}"], int(at), offset)]])
            offset += 1
        results += feed(works, state, the_end())
        credited[name] = sum(one["outcome"] == "click" for one in outputs(results, topics.FEEDBACK))
    lost = credited["not moved"] - credited["moved"]
    print(f"credited: {credited}, lost: {lost}")
    # The docs say: about the share of a day that a shopper's open list lasts, once for a rotation.
    assert 0 < lost <= people, credited
