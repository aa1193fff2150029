"""Sealed tables on real RocksDB files and in memory: one seal for both copies, keys before values, shredding, moving, attacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faust
import pytest

from streams.atrest.partition import MARKER
from streams.atrest.sealed import key_id_of
from streams.atrest.table import PlainTable
from streams.engine.faust.stores import declare
from streams.engine.state import MemoryStore, RocksStore, Store
from streams.errors import ConfigurationError, StateDamaged
from streams.privacy.keys import StateKey
from tests.support.sealed_states import CHANGELOG, DATA_KEYS, ONE, TWO, KilledError, Sealed, Topics

ANNA, BERTA, OWN = b"k1.anna", b"k1.berta", b"\0progress/0"
run = asyncio.run


def owner() -> None:
    """A fence that lets everything through."""


@pytest.fixture(params=["rocksdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    faust_store: Any = declare(faust.App("test", store="rocksdb://", datadir=str(tmp_path), broker="kafka://localhost"), "table").data
    yield RocksStore(faust_store)
    for db in faust_store._dbs.values():
        db.close()


def begun(topics: Topics, store: Store, *others: StateKey, generation: int = 1, **settings: Any) -> Sealed:
    sealed = Sealed(topics, store, *others, **settings)
    run(sealed.table.take_over(0, generation))
    return sealed


def moved(sealed: Sealed, most_steps: int = 100) -> int:
    """Steps until everything is under the current keys."""
    for step in range(most_steps):
        if not sealed.metric("unmoved_partitions"):
            return step
        run(sealed.table.move(0, owner))
    raise AssertionError("it never ends")


def test_both_copies_hold_the_same_sealed_bytes_and_nothing_of_the_value(store: Store) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    run(sealed.table.apply(0, {ANNA: b"viewed tent-7", OWN: b"12"}, owner))
    assert sealed.read([ANNA, OWN, BERTA]) == {ANNA: b"viewed tent-7", OWN: b"12"}
    assert dict(sealed.table.items(0)) == {ANNA: b"viewed tent-7", OWN: b"12"}
    assert dict(store.items(0)) == topics.newest(CHANGELOG)
    assert not any(b"tent" in value for _, value in store.items(0))
    assert set(topics.newest(DATA_KEYS)) == {MARKER, ANNA}, "what is the stage's own needs no data key"


def test_keys_come_before_values_and_only_where_they_are_new(store: Store) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    for value in (b"1", b"2"):
        run(sealed.table.apply(0, {ANNA: value}, owner))
    assert topics.writes == [DATA_KEYS, CHANGELOG, CHANGELOG]
    run(sealed.table.apply(0, {ANNA: None}, owner))
    assert topics.writes[3:] == [CHANGELOG, DATA_KEYS]
    assert set(topics.newest(DATA_KEYS)) == {MARKER} and sealed.metric("data_keys") == 0


def test_another_worker_goes_on_from_the_topics(store: Store) -> None:
    topics = Topics()
    run(begun(topics, MemoryStore()).table.apply(0, {ANNA: b"1", BERTA: b"2"}, owner))
    successor = begun(topics, topics.recovered(store), generation=2)
    assert successor.read([ANNA, BERTA]) == {ANNA: b"1", BERTA: b"2"}
    run(successor.table.apply(0, {ANNA: b"3"}, owner))
    assert topics.writes.count(DATA_KEYS) == 1, "nobody gets a second data key"


@pytest.mark.parametrize("erased_value", [None, b"\x02a mark"], ids=["deleted", "something came after"])
def test_an_erasure_makes_old_copies_unreadable_for_her_alone(store: Store, erased_value: bytes | None) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    run(sealed.table.apply(0, {ANNA: b"viewed tent-7", BERTA: b"viewed lamp-1"}, owner))
    backup = dict(store.items(0))
    run(sealed.table.apply(0, {ANNA: erased_value}, owner, {ANNA}))
    restored = begun(topics, MemoryStore(), generation=2)
    restored.store.put_many(0, backup, None)
    assert restored.read([ANNA, BERTA]) == {BERTA: b"viewed lamp-1"}
    assert dict(restored.table.items(0)) == {BERTA: b"viewed lamp-1"} and restored.metric("shredded_total") == 2
    if erased_value is not None:
        assert sealed.read([ANNA]) == {ANNA: erased_value}


def test_who_comes_back_begins_with_a_key_that_opens_nothing_of_before(store: Store) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    run(sealed.table.apply(0, {ANNA: b"viewed tent-7"}, owner))
    backup = dict(store.items(0))
    run(sealed.table.apply(0, {ANNA: None}, owner))
    run(sealed.table.apply(0, {ANNA: b"viewed lamp-1"}, owner))
    assert sealed.read([ANNA]) == {ANNA: b"viewed lamp-1"}
    store.put_many(0, backup, None)
    assert sealed.read([ANNA]) == {}


@pytest.mark.parametrize(("fails_at", "after"), [(1, None), (2, None), (1, b"mark"), (2, b"mark"), (3, b"mark")])
def test_a_kill_during_an_erasure_leaves_her_readable_or_gone_and_is_cleared_away(fails_at: int, after: bytes | None) -> None:
    topics = Topics()
    first = begun(topics, MemoryStore())
    run(first.table.apply(0, {ANNA: b"old", BERTA: b"2"}, owner))
    old = topics.newest(CHANGELOG)[ANNA]
    topics.fails_at = len(topics.writes) + fails_at
    with pytest.raises(KilledError):
        run(first.table.apply(0, {ANNA: after}, owner, {ANNA}))
    topics.fails_at = 0
    second = begun(topics, topics.recovered(MemoryStore()), generation=2)
    assert second.read([ANNA]).get(ANNA) in (b"old", after), "a value is never without its key"
    run(second.table.apply(0, {ANNA: after}, owner, {ANNA}))  # the batch comes again
    moved(second)
    third = begun(topics, MemoryStore(), generation=3)
    third.store.put_many(0, {ANNA: old}, None)
    assert third.read([ANNA]) == {}
    assert second.read([ANNA, BERTA]) == {key: value for key, value in ((ANNA, after), (BERTA, b"2")) if value is not None}


def test_a_kill_after_the_last_value_is_cleared_away_without_the_batch(store: Store) -> None:
    topics = Topics()
    first = begun(topics, MemoryStore())
    run(first.table.apply(0, {ANNA: b"old", BERTA: b"old"}, owner))
    backup = topics.newest(CHANGELOG)
    topics.fails_at = len(topics.writes) + 3
    with pytest.raises(KilledError):
        run(first.table.apply(0, {ANNA: b"mark", BERTA: None}, owner, {ANNA}))
    second = begun(topics, topics.recovered(store), generation=2)
    moved(second)
    assert set(topics.newest(DATA_KEYS)) == {MARKER, ANNA}, "a data key without a value is removed"
    third = begun(topics, MemoryStore(), generation=3)
    third.store.put_many(0, backup, None)
    assert third.read([ANNA, BERTA]) == {} and second.read([ANNA]) == {ANNA: b"mark"}


def test_a_kill_between_a_key_and_its_first_use(store: Store) -> None:
    topics = Topics()
    topics.fails_at = 2
    with pytest.raises(KilledError):
        run(begun(topics, MemoryStore()).table.apply(0, {ANNA: b"1"}, owner))
    second = begun(topics, topics.recovered(store), generation=2)
    assert second.read([ANNA]) == {}
    run(second.table.apply(0, {ANNA: b"1"}, owner))
    assert second.read([ANNA]) == {ANNA: b"1"} and topics.writes.count(DATA_KEYS) == 1


# --- another state key


def test_values_move_to_the_current_key_in_small_steps_while_the_stage_writes(store: Store) -> None:
    topics = Topics()
    names = [b"k1.%03d" % n for n in range(50)]
    run(begun(topics, MemoryStore()).table.apply(0, {**{name: b"1" for name in names}, OWN: b"12"}, owner))
    topics.recovered(store)
    second = begun(topics, store, ONE, current=TWO, generation=2, moves=7)
    assert second.metric("unmoved_partitions") == 1
    run(second.table.move(0, owner))
    assert sum(key_id_of(value) == b"s2" for _, value in store.items(0)) == 7
    run(second.table.apply(0, {names[49]: b"new", b"k1.another": b"new"}, owner))
    assert moved(second) >= 14
    assert {key_id_of(value) for _, value in store.items(0)} == {b"s2"} and dict(store.items(0)) == topics.newest(CHANGELOG)
    assert {key_id_of(value) for key, value in topics.newest(DATA_KEYS).items() if key != MARKER} == {b"s2"}
    third = begun(topics, store, current=TWO, generation=3)
    assert third.read([names[0], names[49], OWN]) == {names[0]: b"1", names[49]: b"new", OWN: b"12"}, "the old key is not needed any more"


def test_a_state_that_is_no_shoppers_moves_too(store: Store) -> None:
    topics = Topics()
    run(begun(topics, MemoryStore(), of_shoppers=False).table.apply(0, {b"tally": b"1"}, owner))
    second = begun(topics, topics.recovered(store), ONE, current=TWO, of_shoppers=False, generation=2)
    moved(second)
    assert begun(topics, store, current=TWO, of_shoppers=False, generation=3).read([b"tally"]) == {b"tally": b"1"}
    assert DATA_KEYS not in topics.writes


def test_plain_values_are_read_and_sealed_once_and_refused_after_that(store: Store) -> None:
    topics = Topics()
    plain: dict[bytes, bytes | None] = {b"k1.%03d" % n: b"\x01plain" for n in range(20)} | {OWN: b"\x01own"}
    store.put_many(0, plain, None)
    refusing = begun(topics, store)
    with pytest.raises(StateDamaged, match=r"not sealed.*VEILSTREAM_SEAL_STATE=migrate"):
        refusing.read([OWN])
    migrating = begun(topics, store, accepts_plain=True, moves=6)
    assert migrating.read([OWN, b"k1.003"]) == {OWN: b"\x01own", b"k1.003": b"\x01plain"}
    moved(migrating)
    assert migrating.metric("moved_total") == 21
    after = begun(topics, store, generation=2)
    assert dict(after.table.items(0)) == plain
    store.put_many(0, {b"k1.007": b"\x01forged"}, None)
    with pytest.raises(StateDamaged, match="not sealed"):
        after.read([b"k1.007"])
    with pytest.raises(StateDamaged, match="not sealed"):
        moved(begun(topics, store, generation=3))


# --- attacks


def attacked(store: Store, change: dict[bytes, bytes | None]) -> Sealed:
    store.put_many(0, change, None)
    topics = Topics()
    return begun(topics, store)


def test_altered_and_swapped_values_are_refused(store: Store) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    run(sealed.table.take_over(1, 1))
    run(sealed.table.apply(0, {ANNA: b"a", BERTA: b"b", OWN: b"c", b"\0other": b"d"}, owner))
    run(sealed.table.apply(1, {ANNA: b"there"}, owner))
    here, there = dict(store.items(0)), dict(store.items(1))
    flipped = bytearray(here[ANNA])
    flipped[-1] ^= 1
    for key, wrong in (
        (ANNA, here[BERTA]),
        (ANNA, there[ANNA]),
        (OWN, here[b"\0other"]),
        (ANNA, here[OWN]),
        (ANNA, bytes(flipped)),
        (ANNA, here[ANNA][:-1]),
        (ANNA, here[ANNA][:9]),
        (OWN, b"\xe1"),
    ):
        store.put_many(0, {**here, key: wrong}, None)
        with pytest.raises(
            StateDamaged, match=r"the state the-table, partition 0 was altered, or moved .*delete its state folder.*at-rest\.md"
        ):
            sealed.read([key])


def test_an_altered_data_key_is_refused(store: Store) -> None:
    topics = Topics()
    run(begun(topics, MemoryStore()).table.apply(0, {ANNA: b"a", BERTA: b"b"}, owner))
    records = topics.newest(DATA_KEYS)
    topics.rows[(DATA_KEYS, 0)].append((ANNA, records[BERTA]))
    successor = begun(topics, topics.recovered(store), generation=2)
    with pytest.raises(StateDamaged, match="a data key of the state the-table, partition 0 was altered"):
        successor.read([ANNA])


def test_lost_data_keys_are_not_taken_for_erasures(store: Store) -> None:
    topics = Topics()
    run(begun(topics, MemoryStore()).table.apply(0, {ANNA: b"a"}, owner))
    del topics.rows[(DATA_KEYS, 0)]
    with pytest.raises(StateDamaged, match=r"the data keys of the state the-table, partition 0 are gone.*Restore that topic"):
        begun(topics, topics.recovered(store), generation=2).read([ANNA])


def test_a_wrong_and_a_missing_state_key_are_told_apart(store: Store) -> None:
    topics = Topics()
    run(begun(topics, MemoryStore()).table.apply(0, {ANNA: b"a"}, owner))
    topics.recovered(store)
    with pytest.raises(ConfigurationError, match="'s1', which the keys folder does not hold"):
        begun(topics, store, current=TWO).read([ANNA])
    with pytest.raises(StateDamaged, match="was altered"):
        begun(topics, store, current=StateKey("s1", b"x" * 32)).read([ANNA])


def test_without_a_state_key_sealed_bytes_are_no_value(store: Store) -> None:
    topics = Topics()
    run(begun(topics, store).table.apply(0, {ANNA: b"a"}, owner))
    plain = PlainTable(store, CHANGELOG, topics, "the-table")
    for read in (lambda: plain.view(0).get_many([ANNA]), lambda: dict(plain.items(0))):
        with pytest.raises(ConfigurationError, match=r"sealed under the state key 's1', and the keys folder has no state\.key"):
            read()
    store.put_many(0, {ANNA: None, BERTA: b"\x01plain"}, None)
    assert plain.view(0).get_many([BERTA]) == {BERTA: b"\x01plain"}


def test_a_partition_that_was_given_away_is_forgotten_and_read_again(store: Store) -> None:
    topics = Topics()
    sealed = begun(topics, store)
    run(sealed.table.apply(0, {ANNA: b"a"}, owner))
    assert sealed.metric("data_keys") == 1
    sealed.table.drop(0)
    assert sealed.metric("data_keys") == 0
    run(sealed.table.take_over(0, 1))
    assert sealed.read([ANNA]) == {ANNA: b"a"}
