"""What the owner of partition 0 decides: what new is counted from, when it is whoever's turn, and never two rounds at once."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock import FixedClock
from streams.errors import TransientError
from streams.serde.records import TrainingTally
from streams.stages.learning.decision import TriggerBaseline, ask, judge
from streams.stages.learning.rounds import Rounds, next_request_id
from streams.stages.learning.tally import add_feedback, empty_tally
from streams.topics import TRAINING_CONTROL
from tests.support.feedback_harness import State
from tests.support.learning_harness import CODECS, HOUR_MS, RULES, START_MS, Broker, Worker, control_record, heard, pairs

NOW_MS = START_MS + 100 * HOUR_MS
NOTHING = Rounds(CODECS.for_topic(TRAINING_CONTROL))


def counted(*numbers: int, event_ms: int = 0) -> list[TrainingTally]:
    """A tally a partition; with a bucket at ``event_ms``."""
    tallies = [empty_tally(partition) for partition in range(len(numbers))]
    for tally, number in zip(tallies, numbers, strict=True):
        tally["pairs"] = number
        add_feedback(tally, [{"model_version": "m", "outcome": "click", "created_at": event_ms}], RULES.bucket_ms)  # type: ignore[list-item]
    return tallies


def test_the_first_round_needs_no_pause_but_enough_pairs_of_all_partitions() -> None:
    few = judge(None, NOTHING, counted(60, 39), RULES, NOW_MS)
    assert (few.since, few.decision.start) == (TriggerBaseline(NOW_MS), False)
    enough = judge(few.since, NOTHING, counted(60, 40), RULES, NOW_MS)
    assert (enough.decision.start, enough.decision.cause) == (True, "pairs")


def test_a_request_says_why_and_what_is_new_from_then_on() -> None:
    tallies = counted(100, 50, event_ms=START_MS)
    request, since = ask(
        judge(TriggerBaseline(START_MS, "ab" * 16, 30), heard(control_record("ab" * 16, "finished")), tallies, RULES, NOW_MS),
        tallies,
        RULES,
    )
    assert (request["state"], request["cause"], request["pairs"], request["at"]) == ("requested", "pairs", 120, NOW_MS)
    assert "120 new pairs" in request["reason"]
    assert request["request_id"] == next_request_id("ab" * 16) == since.request_id
    assert (since.pairs, since.at_ms) == (150, NOW_MS)
    bucket_ms = START_MS - START_MS % RULES.bucket_ms
    assert since.event_ms == bucket_ms + RULES.bucket_ms


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_who_died_between_asking_and_remembering_is_followed_exactly(before: int, new: int, more: int) -> None:
    """The pairs between its request and the take-over are still new."""
    known = TriggerBaseline(START_MS, "ab" * 16, before)
    rounds = heard(control_record("ab" * 16, "finished"), control_record(next_request_id("ab" * 16), "requested", NOW_MS, pairs=new))
    since = judge(known, rounds, counted(before + new + more), RULES, NOW_MS).since
    assert (since.request_id, since.pairs, since.at_ms) == (next_request_id("ab" * 16), before + new, NOW_MS)


def test_an_operators_round_is_counted_from_when_it_is_heard_of() -> None:
    rounds = heard(control_record("cd" * 16, "requested", NOW_MS + HOUR_MS, pairs=0))
    judged = judge(TriggerBaseline(START_MS), rounds, counted(90), RULES, NOW_MS)
    assert (judged.since.request_id, judged.since.pairs) == ("cd" * 16, 90)
    assert judged.since.at_ms == NOW_MS, "its clock is ahead"
    assert judged.situation.running


def test_a_request_of_ones_own_is_waited_for_until_it_would_be_stale() -> None:
    known = TriggerBaseline(NOW_MS, "ab" * 16, 0)
    assert judge(known, NOTHING, counted(500), RULES, NOW_MS + 10 * HOUR_MS).situation.running
    other = heard(control_record("cd" * 16, "finished", NOW_MS))
    assert judge(known, other, counted(500), RULES, NOW_MS + 10 * HOUR_MS).since == known
    assert not judge(known, NOTHING, counted(500), RULES, NOW_MS + RULES.stale_ms).situation.running


def test_where_the_state_was_lost_counting_begins_anew() -> None:
    judged = judge(TriggerBaseline(START_MS, "ab" * 16, 1000), heard(control_record("ab" * 16, "finished")), counted(40), RULES, NOW_MS)
    assert (judged.since.pairs, judged.situation.new_pairs) == (40, 0)


def test_a_follower_that_died_is_not_believed() -> None:
    class Cut(Worker):
        async def _catch_up(self) -> None:
            raise TransientError("reading the end failed")

    one = Cut(Broker(), FixedClock(START_MS), {0: State()})
    one.feed(pairs(range(150)))
    one.tick()
    with pytest.raises(TransientError):
        one.tick()
    assert not one.broker.values(TRAINING_CONTROL)


def test_an_operator_who_asks_at_the_last_moment_is_heard() -> None:
    class Late(Worker):
        async def _catch_up(self) -> None:
            self.broker.control(request_id="ab" * 16, state="requested", at=START_MS)
            await super()._catch_up()

    one = Late(Broker(), FixedClock(START_MS), {0: State()})
    one.feed(pairs(range(150)))
    one.tick()
    one.tick()
    one.tick()
    assert [value["request_id"] for value in one.broker.values(TRAINING_CONTROL)] == ["ab" * 16]


ACTIONS = st.lists(
    st.sampled_from(["pairs", "tick", "die", "deaf", "move", "zombie", "deaf zombie", "trainer", "operator"]), min_size=20, max_size=60
)


@settings(max_examples=80, deadline=None)
@given(ACTIONS, st.booleans())
@pytest.mark.slow
def test_never_two_rounds_at_once_whoever_owns_the_partition(actions: list[str], with_operator: bool) -> None:
    """Owners die between writing and remembering, lose the partition without knowing, do not hear what was written; an operator asks (then
    all can hear: what is said at the same moment cannot be known)."""
    rules = replace(RULES, trigger=replace(RULES.trigger, min_pairs=8, min_pause_ms=0))
    broker, clock = Broker(once=False), FixedClock(START_MS)
    owner = Worker(broker, clock, {0: State()}, rules)
    zombie: Worker | None = None
    sent, operators = 0, 0
    for action in actions:
        before = states_of(broker)
        if action == "pairs":
            owner.feed(pairs(range(sent, sent + 8)))
            sent += 8
        elif action in ("tick", "die", "deaf"):
            owner.tick(listen=with_operator or action != "deaf", keep=action != "die")
        elif action == "move":
            zombie = owner
            owner = Worker(broker, clock, deepcopy(zombie.states), rules)
            owner.follow()  # a take-over waits for that
        elif action in ("zombie", "deaf zombie") and zombie is not None:
            zombie.tick(listen=with_operator or action == "zombie")
        elif action == "trainer":
            waiting = [request for request, state in states_of(broker).items() if state in ("requested", "started")]
            if waiting:
                state = "started" if states_of(broker)[waiting[0]] == "requested" else "finished"
                broker.control(request_id=waiting[0], state=state, at=clock.now_ms())
        elif action == "operator" and with_operator:
            operators += 1
            broker.control(request_id=f"{operators:032x}", state="requested", at=clock.now_ms())
        asked = states_of(broker).keys() - before.keys() if action != "operator" else set()
        assert len(asked) <= 1
        assert not asked or all(state == "finished" for state in before.values()), "one is open"


def states_of(broker: Broker) -> dict[str, str]:
    """What the trainer would see: a request that comes again after its end is none."""
    order = ["requested", "started", "finished"]
    found: dict[str, str] = {}
    for value in broker.values(TRAINING_CONTROL):
        known = found.setdefault(value["request_id"], value["state"])
        if order.index(value["state"]) > order.index(known):
            found[value["request_id"]] = value["state"]
    return found
