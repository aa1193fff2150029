"""What the trainer keeps, sealed: nothing of a shopper in any byte, old copies that do not open, other state keys, attacks."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from encoders.finetune.examples import Example, TrainingSet
from streams.atrest.sealed import key_id_of
from streams.errors import ConfigurationError, StateDamaged
from streams.privacy.keys import StateKey, generate_state_key
from streams.privacy.state_keys import StateKeys
from streams.serde.records import Forgotten
from streams.settings import Settings
from streams.topics import PRIVACY_FORGOTTEN, RANKING_FEATURES, TRAINING_PAIRS
from streams.training.frozen_set import load_frozen, save_frozen
from streams.training.kept_pairs import kept_of
from streams.training.row_seal import FOLDER, RowSeal, row_seal
from streams.training.store import Bounds, PairStore
from tests.support.trainer_data import START_MS, feature_log, pair

ONE, TWO = StateKey("s1", b"1" * 32), StateKey("s2", b"2" * 32)
ANNA, BERTA = "k1.anna", "k1.berta"


def opened(folder: Path, *others: StateKey, current: StateKey = ONE, accepts_plain: bool = False) -> PairStore:
    return PairStore(folder, Bounds(), RowSeal(folder, StateKeys.of(current, others), accepts_plain=accepts_plain))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PairStore]:
    store = opened(tmp_path)
    fill(store)
    yield store
    store.close()


def fill(store: PairStore) -> None:
    store.append([pair(1, ANNA, "item-tent-7", history=["item-stove-3"]), pair(2, BERTA, "item-lamp-1")], {(TRAINING_PAIRS, 0): 2})
    logs = [feature_log(n, user=who) for n, who in enumerate((ANNA, BERTA))]
    store.append_logs(logs, {(RANKING_FEATURES, 0): 2})


def items(store: PairStore) -> list[tuple[str, str]]:
    return [(one["pseudonym"], one["item_id"]) for one in store.read()]


def bytes_of(folder: Path, but: Sequence[str] = ()) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name not in but)


def rows(folder: Path, table: str = "pairs") -> dict[str, bytes]:
    db = sqlite3.connect(folder / "pairs.sqlite")
    try:
        return dict(db.execute("SELECT pseudonym, body FROM pairs" if table == "pairs" else "SELECT pseudonym, body FROM logs").fetchall())
    finally:
        db.close()


def put(folder: Path, pseudonym: str, body: bytes) -> None:
    db = sqlite3.connect(folder / "pairs.sqlite")
    with db:
        db.execute("UPDATE pairs SET body = ? WHERE pseudonym = ?", (body, pseudonym))
    db.close()


def forgotten(pseudonym: str, item_id: str | None = None) -> Forgotten:
    return {"pseudonym": pseudonym, "request_id": "r", "requested_at": START_MS, "received_at": START_MS + 1, "item_id": item_id}


def test_no_byte_of_the_folder_tells_what_a_shopper_did_and_all_is_read(store: PairStore, tmp_path: Path) -> None:
    assert items(store) == [(ANNA, "item-tent-7"), (BERTA, "item-lamp-1")] and len(store.read_logs()) == 2
    assert not any(word in bytes_of(tmp_path) for word in (b"item-tent", b"item-stove", b"item-lamp"))
    other = RowSeal(tmp_path, StateKeys.of(ONE), reads_only=True)
    pairs, logs = kept_of(tmp_path, ANNA, other)
    assert [one["item_id"] for one in pairs] == ["item-tent-7"] and len(logs) == 1


@pytest.mark.parametrize("item", [None, "item-tent-7"], ids=["all", "an item"])
def test_a_copy_from_before_an_erasure_does_not_open_for_her_alone(store: PairStore, tmp_path: Path, item: str | None) -> None:
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    store.append([pair(3, ANNA, "item-pan-4")], {(TRAINING_PAIRS, 0): 3})
    shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns(FOLDER))
    store.erase([forgotten(ANNA, item)], {(PRIVACY_FORGOTTEN, 0): 1})
    assert items(store) == ([] if item is None else [(ANNA, "item-pan-4")]) + [(BERTA, "item-lamp-1")]
    shutil.copytree(tmp_path / FOLDER, copy / FOLDER)
    restored = opened(copy)
    assert items(restored) == [(BERTA, "item-lamp-1")] and [log["pseudonym"] for log in restored.read_logs()] == [BERTA]
    restored.close()


def test_nothing_of_a_removed_data_key_is_left_in_its_folder(store: PairStore, tmp_path: Path) -> None:
    keys = sqlite3.connect(tmp_path / FOLDER / "keys.sqlite")
    record = keys.execute("SELECT record FROM data_keys WHERE name = ?", (ANNA,)).fetchone()[0]
    keys.close()
    assert record in bytes_of(tmp_path / FOLDER)
    store.forget(ANNA)
    assert record not in bytes_of(tmp_path / FOLDER) and ANNA.encode() not in bytes_of(tmp_path / FOLDER)


def test_a_kill_between_the_rows_and_the_data_key_is_cleared_away(
    store: PairStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: RowSeal, names: object, *, with_round: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RowSeal, "shred", killed)
    with pytest.raises(KeyboardInterrupt):
        store.forget(ANNA)
    monkeypatch.undo()
    store.close()
    again = opened(tmp_path)
    assert again.tidy() == 0 and ANNA.encode() not in bytes_of(tmp_path / FOLDER)
    assert items(again) == [(BERTA, "item-lamp-1")]
    again.close()


def test_all_rows_move_to_the_current_state_key(store: PairStore, tmp_path: Path) -> None:
    store.close()
    both = opened(tmp_path, ONE, current=TWO)
    assert len(items(both)) == 2
    assert both.tidy() == 4 and both.tidy() == 0
    both.close()
    assert {key_id_of(body) for table in ("pairs", "logs") for body in rows(tmp_path, table).values()} == {b"s2"}
    after = opened(tmp_path, current=TWO)
    assert len(items(after)) == 2 and len(after.read_logs()) == 2
    after.close()


def test_plain_rows_are_sealed_once_and_refused_after_that(tmp_path: Path) -> None:
    plain = PairStore(tmp_path, Bounds())
    fill(plain)
    body = rows(tmp_path)[ANNA]
    plain.close()
    assert b"item-tent" in bytes_of(tmp_path)
    migrating = opened(tmp_path, accepts_plain=True)
    assert len(items(migrating)) == 2 and migrating.tidy() == 4
    migrating.close()
    assert b"item-tent" not in bytes_of(tmp_path), "not even what was written over"
    put(tmp_path, ANNA, body)
    after = opened(tmp_path)
    with pytest.raises(StateDamaged, match=r"not sealed.*VEILSTREAM_SEAL_STATE=migrate"):
        after.read()
    after.close()


def test_altered_and_swapped_rows_are_refused(store: PairStore, tmp_path: Path) -> None:
    good = rows(tmp_path)
    for wrong in (good[BERTA], good[ANNA][:-1], good[ANNA][:-1] + bytes((good[ANNA][-1] ^ 1,)), rows(tmp_path, "logs")[ANNA]):
        put(tmp_path, ANNA, wrong)
        with pytest.raises(StateDamaged, match=r"a row of the trainer's store was altered.*delete its pairs\.sqlite"):
            store.read()


def test_lost_data_keys_and_missing_state_keys_are_named(store: PairStore, tmp_path: Path) -> None:
    store.close()
    wrong = opened(tmp_path, current=TWO)
    with pytest.raises(ConfigurationError, match="'s1', which the keys folder does not hold"):
        wrong.read()
    wrong.close()
    without = PairStore(tmp_path, Bounds())
    with pytest.raises(ConfigurationError, match=r"sealed under the state key 's1', and the keys folder has no state\.key"):
        without.read()
    without.close()
    shutil.rmtree(tmp_path / FOLDER)
    lost = opened(tmp_path)
    for read in (lost.read, lost.tidy):
        with pytest.raises(StateDamaged, match="the data keys of the trainer's store are gone: restore data-keys"):
            read()
    lost.close()


def frozen() -> TrainingSet:
    example = Example(0, (1,), (1.0,), 0, 1.0, 1.0, START_MS)
    return TrainingSet(["a tent", "what she searched for"], np.array([1, 0]), [example], np.array([True, False]))


def test_the_frozen_training_set_is_sealed_and_shredded_with_an_erasure(store: PairStore, tmp_path: Path) -> None:
    seal = RowSeal(tmp_path, StateKeys.of(ONE))
    save_frozen(tmp_path / "round" / "data", frozen(), seal)
    assert b"searched" not in bytes_of(tmp_path)
    assert load_frozen(tmp_path / "round" / "data", seal).texts == frozen().texts
    with pytest.raises(ConfigurationError, match="sealed, and there is no state key"):
        load_frozen(tmp_path / "round" / "data", None)
    seal.close()
    store.forget(ANNA)
    seal = RowSeal(tmp_path, StateKeys.of(ONE))
    with pytest.raises(ConfigurationError, match="its key was shredded"):
        load_frozen(tmp_path / "round" / "data", seal)
    seal.close()


def test_the_settings_decide_what_is_sealed(tmp_path: Path) -> None:
    def settings(mode: str) -> Settings:
        return Settings(keys_dir=tmp_path / "keys", trainer_dir=tmp_path / "trainer", seal_state=mode)  # type: ignore[arg-type]

    assert row_seal(settings("auto")) is None
    for mode in ("required", "migrate"):
        with pytest.raises(ConfigurationError, match=r"state\.key is missing"):
            row_seal(settings(mode))
    generate_state_key(tmp_path / "keys")
    assert row_seal(settings("auto"), reads_only=True) is None, "a machine without a trainer"
    made = row_seal(settings("auto"))
    assert made is not None
    made.close()
    (tmp_path / "keys" / "state.key").unlink()
    with pytest.raises(ConfigurationError, match="is to be sealed with it"):
        row_seal(settings("auto"))
