"""The store of pairs: any interleaving of appends and kills keeps each pair once, within its bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import TransientError
from streams.serde.records import Forgotten
from streams.topics import PRIVACY_FORGOTTEN, RANKING_FEATURES, TRAINING_PAIRS
from streams.training.store import Bounds, PairStore
from tests.support.trainer_data import DAY_MS, START_MS, decision, feature_log, pair

BOUNDS = Bounds(most=1000, age_ms=400 * DAY_MS)


def ids(store: PairStore) -> list[str]:
    return sorted(found["pair_id"] for found in store.read())


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.integers(1, 12),
    st.integers(0, 30),
)
@settings(max_examples=40, deadline=None)
def test_each_pair_once_within_bounds_whatever_is_reopened(batches: list[list[int]], reopens: list[bool], most: int, age_days: int) -> None:
    """Pair n is of day n. A reopened store is what a kill after a commit leaves."""
    with TemporaryDirectory() as folder:
        bounds = Bounds(most, age_days * DAY_MS)
        store = PairStore(Path(folder), bounds)
        kept: set[int] = set()
        offset = 0
        for batch, reopen in zip(batches, reopens, strict=False):
            offset += len(batch)
            store.append([pair(n, f"u{n % 3}", "i1", at_ms=START_MS + n * DAY_MS) for n in batch], {(TRAINING_PAIRS, 0): offset})
            kept |= set(batch)
            kept = set(sorted(n for n in kept if n >= max(kept) - age_days)[-most:]) if kept else kept
            if reopen:
                store.close()
                store = PairStore(Path(folder), bounds)
            assert ids(store) == [f"{n:032x}" for n in sorted(kept)]
            assert len(store) == len(kept)
            assert store.offsets(TRAINING_PAIRS) == {0: offset}
        store.close()


KILLED = """
import os, sys
from pathlib import Path
from streams.training.store import Bounds, PairStore
from tests.support.trainer_data import pair
store = PairStore(Path(sys.argv[1]), Bounds())
for start in range(0, 100_000, 50):
    store.append([pair(n, "u", "i1") for n in range(start, start + 50)], {("training.pairs", 0): start + 50})
    print(start + 50, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_neither_loses_nor_doubles(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        committed = 0
        for line in writer.stdout:
            committed = int(line)
            if committed >= 500:
                break
        writer.kill()
    store = PairStore(tmp_path, Bounds())
    following = store.offsets(TRAINING_PAIRS)[0]
    assert following >= committed
    assert ids(store) == [f"{n:032x}" for n in range(following)], "pairs and offset are of the same moment"
    store.append([pair(n, "u", "i1") for n in range(following - 20, following + 5)], {(TRAINING_PAIRS, 0): following + 5})
    assert len(store) == following + 5
    store.close()


def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    """The log's last frame half written: what was committed before it stays."""
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(1, "u", "i1")], {(TRAINING_PAIRS, 0): 1})
    wal = tmp_path / "pairs.sqlite-wal"
    whole = wal.read_bytes()
    store.append([pair(2, "u", "i1")], {(TRAINING_PAIRS, 0): 2})
    torn = wal.read_bytes()[: len(whole) + 2000]
    main = (tmp_path / "pairs.sqlite").read_bytes()
    store.close()
    other = tmp_path / "other"
    other.mkdir()
    (other / "pairs.sqlite").write_bytes(main)
    (other / "pairs.sqlite-wal").write_bytes(torn)
    again = PairStore(other, BOUNDS)
    assert ids(again) == [f"{1:032x}"]
    assert again.offsets(TRAINING_PAIRS) == {0: 1}
    again.close()


@pytest.mark.parametrize("rubbish", [b"no database at all" * 500, None])
def test_a_damaged_file_is_moved_aside_and_begun_anew(tmp_path: Path, rubbish: bytes | None) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(n, f"u{n}", "i1") for n in range(500)], {(TRAINING_PAIRS, 0): 500})
    store.close()
    path = tmp_path / "pairs.sqlite"
    data = path.read_bytes()
    path.write_bytes(rubbish or data[:8192] + b"\xff" * 8192 + data[16384:])
    again = PairStore(tmp_path, BOUNDS)
    assert len(again) == 0
    assert again.offsets(TRAINING_PAIRS) == {}, "so the topic is read from its beginning"
    assert (tmp_path / "pairs.damaged").is_file()
    again.close()


def test_a_forgotten_shopper_leaves_no_byte(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(n, "k1.alice" if n % 2 else "k1.bob", "i1") for n in range(40)], {(TRAINING_PAIRS, 0): 40})
    assert store.forget("k1.alice") == 20
    assert store.forget("k1.alice") == 0
    assert {found["pseudonym"] for found in store.read()} == {"k1.bob"}
    assert store.offsets(TRAINING_PAIRS) == {0: 40}
    assert not any(b"k1.alice" in path.read_bytes() for path in tmp_path.iterdir())
    store.close()


def test_a_full_disk_leaves_pairs_and_offset_as_they_were(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(1, "u", "i1")], {(TRAINING_PAIRS, 0): 1})
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk is full"
    with pytest.raises(TransientError, match="free some space"):
        store.append([pair(n, "u" * 500, "i1") for n in range(2, 200)], {(TRAINING_PAIRS, 0): 200})
    assert ids(store) == [f"{1:032x}"]
    assert store.offsets(TRAINING_PAIRS) == {0: 1}
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.append([pair(n, "u", "i1") for n in range(2, 200)], {(TRAINING_PAIRS, 0): 200}) == 198
    store.close()


def test_a_round_reads_what_was_there_when_it_began(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(1, "u", "i1")], {})
    up_to = store.last()
    store.append([pair(2, "u", "i2")], {})
    assert [found["item_id"] for found in store.read(up_to)] == ["i1"]
    store.advance({}, {"tally": {"a": [1, 2.5]}})
    assert store.state("tally") == {"a": [1, 2.5]}
    assert store.state("nothing") is None
    store.close()


def test_logs_of_features_are_kept_once_and_never_without_their_pairs(tmp_path: Path) -> None:
    store = PairStore(tmp_path, Bounds(most=1000, age_ms=10 * DAY_MS))
    logs = [feature_log(n, at_ms=START_MS + n * DAY_MS, user=f"u{n % 3}") for n in range(20)]
    assert store.append_logs(logs, {(RANKING_FEATURES, 1): 20}) == 20
    assert store.append_logs(logs[5:9], {(RANKING_FEATURES, 1): 9}) == 0
    assert store.offsets(RANKING_FEATURES) == {1: 20}
    assert store.read_logs() == logs, "before there are pairs, nothing is known to be gone"
    store.append([pair(n, "u", "i1", at_ms=START_MS + n * DAY_MS) for n in range(20)], {})
    assert store.read_logs() == logs[9:], "of the pairs, those of the last ten days are left"
    store.close()
    store = PairStore(tmp_path, Bounds())
    assert store.logs == 11
    assert store.forget("u0") == sum(log["pseudonym"] == "u0" for log in logs[9:])
    assert {log["pseudonym"] for log in store.read_logs()} == {"u1", "u2"}
    store.close()


def test_logs_are_bounded_and_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.training.store._LOGS", 4)
    store = PairStore(tmp_path, Bounds())
    for n in (3, 1, 5, 2, 9, 0):
        store.append_logs([feature_log(n, at_ms=START_MS + n)], {})
    assert [log["created_at"] - START_MS for log in store.read_logs()] == [2, 3, 5, 9]
    store.close()


decided = st.tuples(st.just("decide"), st.integers(0, 2), st.sampled_from(["training", "personalization", "newsletter"]), st.booleans())
learnt = st.tuples(st.just("pair"), st.integers(0, 2), st.integers(0, 40), st.just(False))


@given(st.lists(decided | learnt, max_size=40))
@settings(max_examples=40)
def test_nothing_is_kept_of_who_refuses(steps: list[tuple[str, int, int | str, bool]]) -> None:
    """Beside what a dictionary keeps. Step n is of day n; a pair is of a day before, too."""
    with TemporaryDirectory() as folder:
        store = PairStore(Path(folder), BOUNDS)
        kept: dict[int, int] = {}
        refuses: dict[tuple[int, str], bool] = {}
        until_ms: dict[int, int] = {}
        for number, (kind, user, what, allowed) in enumerate(steps):
            now_ms = START_MS + number * DAY_MS
            if kind == "pair":
                at_ms = now_ms - int(what) * DAY_MS
                store.append([pair(number, f"u{user}", "i1", at_ms=at_ms)], {})
                if not any(on for (who, _), on in refuses.items() if who == user) and at_ms > until_ms.get(user, 0):
                    kept[number] = user
            else:
                removed = store.decide([decision(f"u{user}", allowed, purpose=str(what), at_ms=now_ms)], {})
                if what != "newsletter":
                    refuses[user, str(what)] = not allowed
                    if not allowed:
                        until_ms[user] = now_ms
                        assert removed == sum(who == user for who in kept.values())
                        kept = {n: who for n, who in kept.items() if who != user}
            assert ids(store) == sorted(f"{n:032x}" for n in kept)
        store.close()


def test_nothing_of_a_forgotten_shopper_is_in_any_byte(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    for n in range(200):
        store.append([pair(n, "k1.gone" if n % 2 else "k1.stays", f"item-of-{n % 2}-{n}")], {})
    store.append_logs([feature_log(1, user="k1.gone")], {})
    assert store.decide([decision("k1.gone", False)], {}) == 101
    for path in tmp_path.iterdir():
        assert b"item-of-1" not in path.read_bytes(), path.name
    assert len(store) == 100
    store.close()


def test_an_erased_shopper_is_in_no_byte_and_does_not_come_back(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(n, "k1.gone" if n % 2 else "k1.stays", f"item-of-{n % 2}-{n}") for n in range(40)], {})
    asked: Forgotten = {"pseudonym": "k1.gone", "request_id": "r", "requested_at": 1, "received_at": START_MS + DAY_MS, "item_id": None}
    assert store.erase([asked], {(PRIVACY_FORGOTTEN, 0): 1}) == 20 and store.offsets(PRIVACY_FORGOTTEN) == {0: 1}
    store.append([pair(100, "k1.gone", "before"), pair(101, "k1.gone", "after", at_ms=START_MS + 2 * DAY_MS)], {})
    assert {found["item_id"] for found in store.read() if found["pseudonym"] == "k1.gone"} == {"after"}
    assert not any(b"item-of-1" in path.read_bytes() for path in tmp_path.iterdir())
    store.close()


def test_one_item_of_a_shopper_is_forgotten(tmp_path: Path) -> None:
    store = PairStore(tmp_path, BOUNDS)
    store.append([pair(1, "k1.a", "x"), pair(2, "k1.a", "y", history=["x"]), pair(3, "k1.a", "y"), pair(4, "k1.b", "x")], {})
    asked: Forgotten = {"pseudonym": "k1.a", "request_id": "r", "requested_at": 1, "received_at": START_MS, "item_id": "x"}
    assert store.erase([asked], {}) == 2
    assert ids(store) == [f"{n:032x}" for n in (3, 4)]
    store.close()
