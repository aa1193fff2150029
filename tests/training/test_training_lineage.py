"""Who learnt from whom, and what a round begins with after somebody was forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import TransientError
from streams.training.lineage import Learnt, Lineage


def made(lineage: Lineage, version: str, made_from: str | None, *shoppers: str) -> None:
    lineage.begin(shoppers)
    lineage.made(version, made_from)


@pytest.fixture
def lineage(tmp_path: Path) -> Iterator[Lineage]:
    """first <- second (anna, ben) <- third (ben) <- fourth (carl); aside (carl) was made from first."""
    with closing(Lineage(tmp_path)) as opened:
        opened.learnt_from_nobody("first")
        made(opened, "second", "first", "k1.anna", "k1.ben")
        made(opened, "third", "second", "k1.ben")
        made(opened, "fourth", "third", "k1.carl")
        made(opened, "aside", "first", "k1.carl")
        yield opened


def test_it_says_which_versions_learnt_from_a_shopper(lineage: Lineage) -> None:
    assert lineage.of(["k1.anna"])["k1.anna"] == Learnt(["second"], ["third", "fourth"])
    assert lineage.of(["k1.ben"])["k1.ben"] == Learnt(["second", "third"], ["fourth"])
    assert lineage.of(["k1.carl"])["k1.carl"] == Learnt(["fourth", "aside"], [])
    assert lineage.of(["k1.dora"])["k1.dora"] == Learnt([], [])


def test_a_version_that_never_saw_her_is_found(lineage: Lineage) -> None:
    assert lineage.clean_ancestor("fourth") == "fourth"
    lineage.forget(["k1.carl"])
    assert (lineage.clean_ancestor("fourth"), lineage.clean_ancestor("aside")) == ("third", "first")
    lineage.forget(["k1.anna"])
    assert lineage.clean_ancestor("fourth") == "first", "third was made from second, which knew anna"
    assert lineage.of(["k1.anna"])["k1.anna"] == Learnt([], []), "what is left of her is gone"


def test_a_version_that_was_made_elsewhere_may_know_anybody(lineage: Lineage) -> None:
    assert lineage.clean_ancestor("unknown") is None
    made(lineage, "fifth", "unknown", "k1.dora")
    assert lineage.clean_ancestor("fifth") is None


def test_who_is_forgotten_during_a_round_is_remembered_of_its_version(lineage: Lineage) -> None:
    lineage.begin(["k1.dora", "k1.emil"])
    assert lineage.of(["k1.dora"])["k1.dora"] == Learnt([], []), "nothing is made yet"
    lineage.forget(["k1.dora"])
    lineage.made("fifth", "fourth")
    assert lineage.clean_ancestor("fifth") == "fourth"


def test_a_round_that_ends_twice_is_one(lineage: Lineage) -> None:
    made(lineage, "fourth", "first", "k1.anna")
    assert lineage.of(["k1.carl"])["k1.carl"].directly == ["fourth", "aside"] and lineage.of(["k1.anna"])["k1.anna"].directly == ["second"]


def test_a_shopper_with_another_pseudonym_is_the_same(lineage: Lineage) -> None:
    lineage.move("k1.ben", "k2.ben")
    assert lineage.of(["k1.ben", "k2.ben"]) == {"k1.ben": Learnt([], []), "k2.ben": Learnt(["second", "third"], ["fourth"])}


def test_what_no_longer_exists_and_nothing_was_made_from_is_dropped(lineage: Lineage) -> None:
    assert lineage.keep_only(["third"]) == 2
    assert lineage.of(["k1.carl"])["k1.carl"] == Learnt([], []) and lineage.of(["k1.anna"])["k1.anna"] == Learnt(["second"], ["third"])


def test_no_pseudonym_is_in_the_file(tmp_path: Path) -> None:
    with closing(Lineage(tmp_path)) as lineage:
        made(lineage, "v", None, "k1.anna")
    assert b"anna" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_it_is_kept(tmp_path: Path) -> None:
    with closing(Lineage(tmp_path)) as lineage:
        made(lineage, "v", None, "k1.anna")
    with closing(Lineage(tmp_path)) as lineage:
        assert lineage.of(["k1.anna"])["k1.anna"].directly == ["v"]


def test_a_disk_that_fails_says_so(tmp_path: Path) -> None:
    with closing(Lineage(tmp_path)) as lineage:
        with closing(sqlite3.connect(tmp_path / "lineage.sqlite")) as db:
            db.execute("DROP TABLE versions")
        with pytest.raises(TransientError, match=r"lineage\.sqlite"):
            lineage.of(["k1.anna"])["k1.anna"]


@given(
    versions=st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from("abcde"))), min_size=1, max_size=6),
    forgotten=st.sets(st.sampled_from("abcde")),
)
def test_whatever_is_clean_knew_nobody_who_is_forgotten(
    versions: list[tuple[int, set[str]]], forgotten: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with closing(Lineage(tmp_path_factory.mktemp("lineage"))) as lineage:
        lineage.learnt_from_nobody("v0")
        knew: dict[str, set[str]] = {"v0": set()}
        for number, (parent, shoppers) in enumerate(versions, 1):
            made_from = f"v{parent % number}"
            made(lineage, f"v{number}", made_from, *shoppers)
            knew[f"v{number}"] = knew[made_from] | shoppers
        for shopper in forgotten:
            lineage.forget([shopper])
        newest = f"v{len(versions)}"
        clean = lineage.clean_ancestor(newest)
        assert clean is not None and not knew[clean] & forgotten
        assert (clean == newest) == (not knew[newest] & forgotten)
