"""The bytes of sealed values: what opens, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.atrest.sealed import (
    Altered,
    DataKey,
    Place,
    dump_data_keys,
    is_sealed,
    key_id_of,
    load_data_keys,
    new_data_key,
    nonces,
    open_as,
    seal_as,
    serial_of,
)
from streams.errors import ConfigurationError
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys

ONE, TWO = StateKey("s1", b"1" * 32), StateKey("s2", b"2" * 32)
KEYS = StateKeys.of(ONE)
NONCE = b"n" * 24
DATA_KEY = DataKey(b"serial-1", b"k" * 32)


def place(keys: StateKeys = KEYS, topic: str = "log", partition: int = 0) -> Place:
    return Place(keys, topic, partition, "the state")


def shoppers(value: bytes = b"what she viewed", key: bytes = b"anna", where: Place | None = None) -> bytes:
    return seal_as((where or place()).sealer(key, DATA_KEY), value, NONCE)


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_is_sealed_opens_where_it_belongs(value: bytes, key: bytes) -> None:
    sealed = place().seal(key, value, NONCE)
    assert place().open(key, sealed) == value and is_sealed(sealed) and key_id_of(sealed) == b"s1" and serial_of(sealed) is None
    of_shopper = shoppers(value, key)
    assert place().open_with(key, of_shopper, DATA_KEY) == open_as(place().sealer(key, DATA_KEY), of_shopper) == value
    assert key_id_of(of_shopper) == b"s1" and serial_of(of_shopper) == DATA_KEY.serial


@pytest.mark.parametrize(
    ("topic", "partition", "key"),
    [("other", 0, b"anna"), ("log", 1, b"anna"), ("log", 0, b"berta"), ("lo", 0, b"ganna")],
    ids=["topic", "partition", "key", "the border between them"],
)
def test_a_value_in_another_place_does_not_open(topic: str, partition: int, key: bytes) -> None:
    there = place(topic=topic, partition=partition)
    with pytest.raises(Altered):
        there.open(key, place().seal(b"anna", b"value", NONCE))
    with pytest.raises(Altered):
        there.open_with(key, shoppers(), DATA_KEY)
    with pytest.raises(Altered):
        there.check_mark(key, shoppers())


def test_no_bit_can_be_flipped_and_no_end_cut_off() -> None:
    here = place()
    for sealed, opened in (
        (here.seal(b"anna", b"value", NONCE), lambda data: here.open(b"anna", data)),
        (shoppers(), lambda data: here.open_with(b"anna", data, DATA_KEY)),
    ):
        for at in range(8 * len(sealed)):
            flipped = bytearray(sealed)
            flipped[at // 8] ^= 1 << at % 8
            with pytest.raises((Altered, ConfigurationError)):
                opened(bytes(flipped))
        for size in range(len(sealed)):
            with pytest.raises((Altered, ConfigurationError)):
                opened(sealed[:size])


def test_the_mark_alone_tells_what_the_stage_wrote() -> None:
    place().check_mark(b"anna", shoppers())
    head = len(b"\xe2\x02s1")
    for at in range(head, head + 16):
        flipped = bytearray(shoppers())
        flipped[at] ^= 1
        with pytest.raises(Altered):
            place().check_mark(b"anna", bytes(flipped))


def test_neither_key_alone_opens_a_shoppers_value() -> None:
    other_state = place(StateKeys.of(StateKey("s1", b"x" * 32)))
    with pytest.raises(Altered):
        other_state.open_with(b"anna", shoppers(), DATA_KEY)
    with pytest.raises(Altered):
        place().open_with(b"anna", shoppers(), DataKey(DATA_KEY.serial, b"x" * 32))
    with pytest.raises(Altered):
        place().open(b"anna", b"\xe1" + shoppers()[1:])


def test_an_old_state_key_opens_and_the_current_one_seals() -> None:
    both = place(StateKeys.of(TWO, [ONE]))
    assert both.open(b"anna", place().seal(b"anna", b"value", NONCE)) == b"value"
    assert both.open_with(b"anna", shoppers(), DATA_KEY) == b"what she viewed"
    assert key_id_of(both.seal(b"anna", b"value", NONCE)) == b"s2"


def test_a_missing_state_key_is_named() -> None:
    sealed = place(StateKeys.of(TWO)).seal(b"anna", b"value", NONCE)
    with pytest.raises(ConfigurationError, match=r"the state key 's2', which the keys folder does not hold; put it back as state-s2\.key"):
        place().open(b"anna", sealed)


def test_data_keys_are_kept_in_their_order() -> None:
    keys = (new_data_key(), new_data_key())
    assert load_data_keys(dump_data_keys(keys)) == keys
    for wrong in (b"", b"x", dump_data_keys(keys)[:-1]):
        with pytest.raises(Altered):
            load_data_keys(wrong)
    assert keys[0].secret.hex() not in repr(keys) and keys[0].serial.hex() in repr(keys)


def test_no_nonce_comes_twice() -> None:
    found = [nonce for _ in range(50) for nonce in nonces(100)]
    assert len(set(found)) == 5000 and {len(nonce) for nonce in found} == {24}
