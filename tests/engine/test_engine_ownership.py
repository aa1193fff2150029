"""Ownership ends by itself, by a clock that the test moves."""

from __future__ import annotations

import doctest
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine import ownership as module
from streams.engine.ownership import Ownership, seconds_awake_or_not
from streams.errors import NotOwner, TransientError


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_nothing_is_owned_before_the_group_has_said_so() -> None:
    ownership = Ownership(10.0, lambda: 0.0)
    ownership.renew(0.0)
    with pytest.raises(NotOwner, match="t/0 is no longer this worker's"):
        ownership.check(("t", 0), -1)


def test_an_answer_counts_from_when_its_question_was_sent() -> None:
    """The coordinator's patience began when it got the heartbeat, not when its answer came back here."""
    now = [0.0]
    ownership = Ownership(10.0, lambda: now[0])
    ownership.assign({("t", 0)}, 1)
    now[0] = 9.0
    ownership.renew(0.5)  # the answer came at 9.0
    now[0] = 10.4
    assert ownership.holds(("t", 0), 1)
    now[0] = 10.5
    assert not ownership.holds(("t", 0), 1)


def test_a_late_answer_to_an_older_heartbeat_takes_nothing_back() -> None:
    now = [20.0]
    ownership = Ownership(10.0, lambda: now[0])
    ownership.assign({("t", 0)}, 1)
    ownership.renew(19.0)
    ownership.renew(5.0)
    assert ownership.holds(("t", 0), 1)


def test_what_is_given_up_stays_given_up_whatever_is_answered() -> None:
    ownership = Ownership(10.0, lambda: 0.0)
    ownership.assign({("t", 0)}, 4)
    ownership.renew(0.0)
    ownership.give_up()
    ownership.renew(0.0)
    assert not ownership.holds(("t", 0), 4)
    assert ownership.owned == set()


def test_lacking_ownership_is_something_that_may_come_back() -> None:
    assert issubclass(NotOwner, TransientError)


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    assert seconds_awake_or_not() >= time.monotonic() - 0.001


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 8)),
        st.tuples(st.just("heartbeat"), st.floats(0, 3)),
        st.tuples(st.just("assign"), st.integers(1, 3)),
        st.tuples(st.just("give up"), st.just(0)),
    ),
    max_size=30,
)


@given(steps)
def test_a_write_goes_out_only_within_the_session_of_the_last_heartbeat(taken: list[tuple[str, float]]) -> None:
    now, last_sent, owner = [0.0], float("-inf"), -1
    ownership = Ownership(6.0, lambda: now[0])
    for what, number in taken:
        if what == "wait":
            now[0] += number
        elif what == "heartbeat":
            sent = now[0]
            now[0] += number
            ownership.renew(sent)
            last_sent = sent
        elif what == "assign":
            owner = int(number)
            ownership.assign({("t", 0)}, owner)
        else:
            owner = -1
            ownership.give_up()
        for generation in range(1, 4):
            assert ownership.holds(("t", 0), generation) == (generation == owner and now[0] - last_sent < 6.0)
