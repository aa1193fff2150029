"""What is missing and what is too many, by what a broker tells."""

from __future__ import annotations

from streams.access.comparing import Granted, missing, together, too_many, unknown
from streams.access.rights import CLUSTER, Right

READ, WRITE, GROUP = Right("topic", "a", "Read"), Right("topic", "a", "Write"), Right("group", "g", "Read")
PREFIXED = Right("group", "web-", "Read", is_prefix=True)
ALL = frozenset({"Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"})


def granted(unseen: frozenset[Right] = frozenset(), **operations: set[str]) -> Granted:
    return Granted({("group" if name == "g" else "topic", name): frozenset(found) for name, found in operations.items()}, unseen)


def test_what_is_missing() -> None:
    needed = [READ, WRITE, GROUP]
    assert missing(needed, granted(a={"Read", "Describe"})) == [WRITE, GROUP]
    assert missing(needed, granted(a={"Read", "Write", "Describe"}, g={"Read", "Describe"})) == []


def test_what_is_not_seen_is_not_missing() -> None:
    needed = [READ, WRITE, GROUP, PREFIXED]
    found = granted(frozenset({READ, WRITE}), g={"Read"})
    assert missing(needed, found) == [] and unknown(needed, found) == [READ, WRITE, PREFIXED]


def test_what_is_too_many() -> None:
    assert too_many([READ, GROUP], granted(a={"Read", "Describe"}, g={"Read", "Describe"})) == []
    found = granted(a={"Read", "Write", "Describe"}, b={"Describe"}, g={"Read", "Delete", "Describe"})
    assert too_many([READ, GROUP], found) == [Right("group", "g", "Delete"), WRITE, Right("topic", "b", "Describe")]  # type: ignore[arg-type]


def test_what_comes_with_another_right_is_said_once() -> None:
    assert together(too_many([], granted(a={"Read", "Write", "Describe", "DescribeConfigs", "AlterConfigs"}))) == [
        "AlterConfigs, Read, Write topic a"
    ]
    assert together([Right("cluster", CLUSTER, "Create")]) == ["Create the cluster"]


def test_groups_of_one_s_own_prefix_are_not_too_many() -> None:
    found = Granted({("group", "web-1"): frozenset({"Read", "Describe"}), ("group", "other"): frozenset({"Read", "Describe"})})
    assert too_many([PREFIXED], found) == [Right("group", "other", "Read")]


def test_a_broker_without_an_authorizer_is_open() -> None:
    assert granted(a=set(ALL), b=set(ALL)).is_open
    assert not granted(a=set(ALL), b={"Read"}).is_open and not Granted({}).is_open
