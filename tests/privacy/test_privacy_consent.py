"""Which decision counts, and the table of all of them, beside a plain dictionary."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.consent import GATED, TRAINING, ConsentTable, Decision, in_force, purposes_of, refused_after

decisions = st.builds(Decision, st.integers(0, 2**45), st.booleans())
changes = st.tuples(st.integers(0, 300), st.sampled_from(GATED), st.none() | decisions)


@given(st.lists(changes, max_size=400), st.sets(st.sampled_from(GATED)))
def test_the_table_is_a_dictionary(made: list[tuple[int, str, Decision | None]], allowed: set[str]) -> None:
    table, known = ConsentTable(allowed), dict[tuple[str, str], Decision]()
    for number, purpose, decision in made:
        name = f"k1.{number}"
        if decision is None:
            table.forget(name, purpose)
            known.pop((name, purpose), None)
        else:
            table.decide(name, purpose, decision)
            known[name, purpose] = decision
    for number in range(301):
        name = f"k1.{number}"
        assert [table.decision(name, purpose) for purpose in GATED] == [known.get((name, purpose)) for purpose in GATED]
        assert list(table.refused(name)) == [p for p in GATED if (known[name, p].refuses if (name, p) in known else p not in allowed)]
    for purpose in GATED:
        for allows in (True, False):
            about = [one for (_, what), one in known.items() if what == purpose and one.refuses != allows]
            assert table.count(purpose, allows=allows) == len(about)


def test_other_purposes_are_not_kept() -> None:
    table = ConsentTable(set())
    table.decide("k1.a", "newsletter", Decision(1, True))
    table.forget("k1.a", "newsletter")
    assert table.decision("k1.a", "newsletter") is None and len(table) == 0


def test_a_table_grows() -> None:
    table = ConsentTable(set())
    for number in range(20_000):
        table.decide(f"k1.{number}", GATED[number % 2], Decision(number, number % 3 == 0))
    assert len(table) == 20_000
    assert all(table.decision(f"k1.{n}", GATED[n % 2]) == Decision(n, n % 3 == 0) for n in range(20_000))
    assert table.refused("k1.99999") == GATED
    assert sum(table.count(purpose, allows=False) for purpose in GATED) == len(range(0, 20_000, 3))


@given(st.lists(decisions, min_size=1, max_size=5))
def test_the_order_of_arrival_does_not_matter(made: list[Decision]) -> None:
    ends = set()
    for order in permutations(made):
        known: Decision | None = None
        for decision in order:
            known = decision if in_force(known, decision) else known
        ends.add(known)
    assert len(ends) == 1
    last = max(decision.decided_ms for decision in made)
    assert ends.pop() == Decision(last, any(decision.refuses for decision in made if decision.decided_ms == last))


@given(st.sets(st.sampled_from(GATED)), st.dictionaries(st.sampled_from([*GATED, "newsletter"]), st.booleans()))
def test_only_what_is_named_changes(before: set[str], decided: dict[str, bool]) -> None:
    after = refused_after(before, decided)
    for purpose in GATED:
        assert (purpose in after) == (not decided[purpose] if purpose in decided else purpose in before)


@pytest.mark.parametrize(
    ("text", "found"), [("", ()), ("none", ()), ("all", GATED), (" training ", (TRAINING,)), ("training,personalization", GATED)]
)
def test_purposes_of_a_setting(text: str, found: tuple[str, ...]) -> None:
    assert purposes_of(text) == frozenset(found)


@pytest.mark.parametrize("text", ["everything", "all,training", "none,training", "Training"])
def test_what_is_no_purpose_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="personalization, training"):
        purposes_of(text)
