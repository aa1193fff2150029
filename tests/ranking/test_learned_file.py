"""A ranker as bytes, and all that is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from streams.ranking.learned import features
from streams.ranking.learned.crosses import no_crosses
from streams.ranking.learned.features import FEATURES, LEVELS, NAMES
from streams.ranking.learned.file import ranker_bytes, ranker_from
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.together_table import Neighbours
from tests.support.learned_shop import additive_ranker, forest_ranker, random_tree

RELATED = RelatedItems(["a", "brötchen", "茶"], Neighbours(np.array([0, 2, 2, 3]), np.array([1, 2, 0]), np.array([0.5, -1, 2], np.float32)))
SMALL = additive_ranker(1, RELATED)
DATA = ranker_bytes(SMALL)
HEADER = 8 + int.from_bytes(DATA[:8], "little")


def equal(a: Ranker, b: Ranker) -> bool:
    ours, theirs = ([one.tables, *one.forest, *one.crosses, *one.related.neighbours] for one in (a, b))
    plain = [
        [getattr(one, field.name) for field in fields(Ranker) if field.name not in ("tables", "forest", "crosses", "related", "names")]
        for one in (a, b)
    ]
    return (
        plain[0] == plain[1]
        and list(a.related.items) == list(b.related.items)
        and tuple(a.names) == tuple(b.names)
        and all(np.array_equal(x, y) for x, y in zip(ours, theirs, strict=True))
    )


@settings(max_examples=15)
@given(st.integers(0, 999), st.booleans(), st.booleans())
@pytest.mark.slow
def test_what_is_written_is_read(seed: int, trees: bool, related: bool) -> None:
    made = (forest_ranker if trees else additive_ranker)(seed, RELATED if related else nothing_related())
    made = replace(made, fitted="to 7 lists, ünd well")
    read = ranker_from(ranker_bytes(made))
    assert equal(made, read)
    levels = np.random.default_rng(seed).integers(0, LEVELS, (20, len(FEATURES)), np.uint8)
    assert read.scores(levels).tobytes() == made.scores(levels).tobytes()
    assert read.shares(levels).tobytes() == made.shares(levels).tobytes()


@settings(max_examples=200)
@given(st.integers(0, len(DATA) - 1))
def test_a_file_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="ranker"):
        ranker_from(DATA[:length])


@settings(max_examples=400)
@given(st.integers(0, HEADER - 1), st.integers(0, 255))
def test_a_damaged_header_never_gives_another_ranker(place: int, value: int) -> None:
    damaged = DATA[:place] + bytes([value]) + DATA[place + 1 :]
    try:
        read = ranker_from(damaged)
    except ValueError:
        return
    assert equal(replace(read, fitted=""), replace(SMALL, fitted=""))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="ranker"):
        ranker_from(data)


def rewritten(changes: dict[str, Any] | None = None, **header: str) -> bytes:
    """The small ranker's file with other arrays or another header."""
    text = json.loads(DATA[8:HEADER])["__metadata__"]
    return save({**load(DATA), **(changes or {})}, {**text, **header})


def test_the_file_written_again_is_the_same_ranker() -> None:
    assert equal(ranker_from(rewritten()), SMALL)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "3"}, "format 3"),
        ({"format": "1"}, "some"),
        ({"schema": "0" * 12}, "schema 000000000000"),
        ({"features": json.dumps([*NAMES[1:], NAMES[0]])}, "its features"),
        ({"features": json.dumps(list(NAMES[:-1]))}, "its features"),
        ({"features": "["}, "Expecting"),
        ({"features": "5"}, "damaged"),
    ],
)
def test_another_format_schema_or_order_is_refused(header: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ranker_from(rewritten(**header))


def test_a_file_from_before_there_were_tables_of_two_features_is_read() -> None:
    arrays = {name: array for name, array in load(DATA).items() if not name.startswith("crosses.")}
    text = json.loads(DATA[8:HEADER])["__metadata__"]
    assert equal(ranker_from(save(arrays, {**text, "format": "1"})), replace(SMALL, crosses=no_crosses()))


def test_a_ranker_of_features_on_another_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FEATURES", (FEATURES[0]._replace(high=2.0), *FEATURES[1:]))
    with pytest.raises(ValueError, match="this version computes"):
        ranker_from(DATA)


def changed(name: str, place: Any, value: float) -> dict[str, Any]:
    array = load(DATA)[name].copy()
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    "changes",
    [
        changed("tables", (2, 7), np.nan),
        changed("tables", (2, 7), np.inf),
        changed("numbers", 1, np.nan),
        {"tables": SMALL.tables[:-1]},
        {"tables": SMALL.tables[:, :-1]},
        {"numbers": np.zeros(2)},
        changed("related.others", 0, 3),
        changed("related.others", 0, -1),
        changed("related.strengths", 0, np.nan),
        changed("related.starts", 1, 5),
        changed("related.starts", 0, -2),
        changed("related.starts", 0, 1),
        changed("related.starts", 3, 2),
        changed("related.lengths", 1, 5),
        {"related.lengths": np.array([1, 9], np.int64)},
        changed("related.items", 2, 255),
        {"forest.features": np.full((1, 7), 18, np.uint8)},
        changed("crosses.features", (1, 0), 18),
        changed("crosses.bins", (0, 1, 3), 16),
        changed("crosses.tables", (1, 9), np.nan),
        {"crosses.tables": SMALL.crosses.tables[:1]},
        {"crosses.bins": SMALL.crosses.bins[:, :, :-1]},
        {"forest.values": np.zeros((1, 128), np.float32)},
        # Numbers of another kind: negative places, or bits that mean something else.
        {"tables": SMALL.tables.view(np.int32)},
        {"forest.features": np.zeros((0, 7), np.int8)},
        {"related.starts": np.array([0, 2, 2, 3], np.float64)},
        {"related.strengths": np.zeros((3, 2), np.float32)},
    ],
)
def test_impossible_content_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ranker_from(rewritten(changes))


def test_a_tree_that_asks_for_no_feature_is_refused() -> None:
    forest = forest_ranker(1, RELATED).forest
    bad = forest._replace(features=np.full_like(forest.features, len(FEATURES)))
    with pytest.raises(ValueError, match="trees"):
        replace(SMALL, forest=bad)
    with pytest.raises(ValueError, match="finite"):
        replace(SMALL, forest=forest._replace(shapley=np.full_like(forest.shapley, np.nan)))
    assert replace(SMALL, forest=forest).forest is forest


def test_a_ranker_that_knows_nothing_gives_its_base() -> None:
    ranker = Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), 0.25, 0.0, 0.0, nothing_related(), no_forest())
    levels = np.random.default_rng(1).integers(0, LEVELS, (9, len(FEATURES)), np.uint8)
    assert ranker.used == []
    assert ranker.scores(levels).tolist() == [0.25] * 9
    assert ranker.probability(ranker.scores(levels)).tolist() == [0.5] * 9
    assert ranker.shares(levels)[:, -1].tolist() == [0.25] * 9


@settings(max_examples=30)
@given(st.integers(0, 999), st.booleans())
def test_shares_add_up_to_the_scores(seed: int, trees: bool) -> None:
    ranker = (forest_ranker if trees else additive_ranker)(seed, RELATED)
    levels = np.random.default_rng(seed).integers(0, LEVELS, (30, len(FEATURES)), np.uint8)
    assert ranker.shares(levels).sum(axis=1) == pytest.approx(ranker.scores(levels), abs=1e-9)


def test_random_trees_have_the_leaves_that_were_asked_for() -> None:
    def leaves(node: Any) -> int:
        return 1 if "leaf_value" in node else leaves(node["left_child"]) + leaves(node["right_child"])

    assert [leaves(random_tree(np.random.default_rng(n), n)) for n in range(1, 9)] == list(range(1, 9))
