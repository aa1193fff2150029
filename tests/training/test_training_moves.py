"""The trainer's store while the pseudonym key is rotated: pairs go to the new pseudonym, also those that come late, and refusals hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.serde.records import Forgotten
from streams.stages.profile.moves import ProfileMove
from streams.topics import CONSENT_DECISIONS, PRIVACY_FORGOTTEN, PRIVACY_MOVES, TRAINING_PAIRS
from streams.training.lineage import Lineage
from streams.training.round_directory import RoundDirectory
from streams.training.service import TrainerService
from streams.training.store import Bounds, PairStore
from tests.support.rotations import SEALER
from tests.support.trainer_data import DAY_MS, START_MS, decision, feature_log, pair

OLD, NEW = "k1.anna", "k2.anna"
BOUNDS = Bounds(most=1000, age_ms=400 * DAY_MS)


def move(what: str = "state", number: int = 1, **more: object) -> ProfileMove:
    return ProfileMove(b"%16d" % number, what, OLD, NEW, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PairStore]:
    made = PairStore(tmp_path, BOUNDS, moves=SEALER)
    yield made
    made.close()


def held(store: PairStore) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in store.read():
        found.setdefault(one["pseudonym"], set()).add(one["item_id"])
    return found


def test_pairs_go_to_the_new_pseudonym_and_so_do_late_ones(store: PairStore, tmp_path: Path) -> None:
    store.append([pair(1, OLD, "a"), pair(2, "k1.ben", "b")], {(TRAINING_PAIRS, 0): 2})
    store.append_logs([feature_log(1, user=OLD)], {})
    assert store.move([move()], {(PRIVACY_MOVES, 0): 1}) == 0
    store.append([pair(3, OLD, "c"), pair(4, NEW, "d")], {(TRAINING_PAIRS, 0): 4})
    assert held(store) == {NEW: {"a", "c", "d"}, "k1.ben": {"b"}}
    assert {log["pseudonym"] for log in store.read_logs()} == {NEW}
    assert store.offsets(PRIVACY_MOVES) == {0: 1}
    # What joins the two is sealed.
    (old, sealed) = store._db.execute("SELECT old, new FROM moved").fetchone()
    assert old == OLD and NEW.encode() not in sealed
    store.end_moves()
    store.append([pair(5, OLD, "e")], {})
    assert held(store)[OLD] == {"e"}, "afterwards nobody can join them"


@given(st.permutations(["move", "move again", "pair", "pair again", "late pair"]))
def test_any_order_gives_the_same(order: list[str]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        store = PairStore(Path(folder), BOUNDS, moves=SEALER)
        for step in order:
            if step.startswith("move"):
                store.move([move(number=len(step))], {})
            else:
                store.append([pair(9 if step == "late pair" else 1, OLD, step.removesuffix(" again"))], {})
        assert held(store) == {NEW: {"pair", "late pair"}} and len(store) == 2
        store.close()


def test_a_refusal_under_either_pseudonym_holds(store: PairStore) -> None:
    store.append([pair(1, OLD, "a")], {})
    store.decide([decision(NEW, False, at_ms=START_MS + DAY_MS)], {(CONSENT_DECISIONS, 0): 1})
    assert store.move([move()], {}) == 1 and held(store) == {}
    store.append([pair(2, OLD, "b")], {})
    assert held(store) == {}


def test_forgotten_is_forgotten_under_both(store: PairStore) -> None:
    store.append([pair(1, OLD, "a"), pair(2, NEW, "b")], {})
    request: Forgotten = {
        "pseudonym": NEW,
        "request_id": "r",
        "requested_at": START_MS,
        "received_at": START_MS + DAY_MS,
        "item_id": None,
    }
    store.erase([request], {(PRIVACY_FORGOTTEN, 0): 1})
    assert store.move([move("forget", received_ms=START_MS + DAY_MS)], {}) == 1 and held(store) == {}
    store.append([pair(3, OLD, "c")], {})
    assert held(store) == {}, "what is from before the request does not come back, late"
    store.append([pair(4, OLD, "d", at_ms=START_MS + 2 * DAY_MS)], {})
    assert held(store) == {NEW: {"d"}}


def test_an_item_is_forgotten_under_the_old_pseudonym(store: PairStore) -> None:
    store.append([pair(1, OLD, "a"), pair(2, OLD, "b", history=["a"]), pair(3, OLD, "c")], {})
    assert store.move([move("forget", item_id="a")], {}) == 2
    assert held(store) == {OLD: {"c"}}


def test_a_browsers_pairs_stay_its_own(store: PairStore) -> None:
    store.append([pair(1, OLD, "a")], {})
    store.move([ProfileMove(b"1" * 16, "state", OLD, "k2.user", is_same=False), move("hand_over", to="k2.user")], {})
    assert held(store) == {NEW: {"a"}}


def test_which_versions_learnt_from_her_is_known_under_the_new_pseudonym(tmp_path: Path) -> None:
    service = TrainerService.__new__(TrainerService)
    service._shop = RoundDirectory(tmp_path)
    lineage = Lineage(tmp_path)
    lineage.begin([OLD, "k1.ben"])
    lineage.made("v1", None)

    def directly(pseudonym: str) -> list[str]:
        return lineage.of([pseudonym])[pseudonym].directly

    service._moved([move()])
    assert directly(NEW) == ["v1"] and directly(OLD) == [] and directly("k1.ben") == ["v1"]
    service._moved([ProfileMove(b"2" * 16, "forget", "k1.ben", "k2.ben"), move("forget", item_id="a")])
    assert directly("k1.ben") == [] and lineage.clean_ancestor("v1") is None and directly(NEW) == ["v1"]
    lineage.close()
