"""The commit ledger never passes a run whose effects are not acknowledged."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st
from streams.engine.ledger import Commit, CommitLedger

from streams.engine import ledger as module

P = ("t", 0)


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_commit_is_the_longest_unbroken_run(shape: list[tuple[int, int]], random: object) -> None:
    """Runs of any length, with holes between them as compaction leaves them, acknowledged in any order."""
    runs: list[tuple[int, int]] = []
    offset = 0
    for length, hole in shape:
        runs.append((offset, offset + length - 1))
        offset += length + hole
    ledger = CommitLedger()
    for first, last in runs:
        ledger.delivered(P, first, last)
    order = list(range(len(runs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    done: set[int] = set()
    for index in order:
        assert ledger.done(P, runs[index][0], str(index))
        done.add(index)
        prefix = next((i for i in range(len(runs)) if i not in done), len(runs))
        expected = None if prefix == 0 else Commit(runs[prefix - 1][1] + 1, str(prefix - 1))
        assert ledger.committable(P) == expected
    assert ledger.is_idle(P)


def test_an_unprocessed_run_before_the_first_commit_is_not_passed() -> None:
    """The two holes of the upstream bookkeeping: a distance of one from the commit, and no check before the first commit."""
    ledger = CommitLedger()
    ledger.delivered(P, 2585, 2585)
    ledger.delivered(P, 2586, 2589)
    ledger.done(P, 2586, "later")
    assert ledger.committable(P) is None
    ledger.done(P, 2585, "now")
    assert ledger.committable(P) == Commit(2590, "later")


def test_a_restart_forgets_and_a_stale_acknowledgement_is_refused() -> None:
    ledger = CommitLedger()
    ledger.delivered(P, 0, 9)
    ledger.restart(P)
    assert not ledger.done(P, 0, "stale")
    assert ledger.committable(P) is None
    ledger.delivered(P, 0, 4)
    assert ledger.done(P, 0, "new")
    assert ledger.committable(P) == Commit(5, "new")


def test_a_commit_is_offered_once() -> None:
    ledger = CommitLedger()
    ledger.delivered(P, 0, 4)
    ledger.done(P, 0, "m")
    commit = ledger.committable(P)
    assert commit is not None
    assert list(ledger.pending()) == [(P, commit)]
    ledger.committed(P, commit)
    assert ledger.committable(P) is None
    assert list(ledger.pending()) == []


def test_a_commit_that_was_overtaken_stays_open() -> None:
    ledger = CommitLedger()
    ledger.delivered(P, 0, 4)
    ledger.delivered(P, 5, 9)
    ledger.done(P, 0, "a")
    sent = ledger.committable(P)
    assert sent is not None
    ledger.done(P, 5, "b")
    ledger.committed(P, sent)
    assert ledger.committable(P) == Commit(10, "b")


def test_the_same_run_delivered_twice_is_one() -> None:
    ledger = CommitLedger()
    ledger.delivered(P, 0, 4)
    ledger.delivered(P, 0, 4)
    assert ledger.done(P, 0, "m")
    assert ledger.is_idle(P)
