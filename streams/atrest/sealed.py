"""The bytes of a sealed value, and who can open them. Pure, but for the random nonces.

A value is sealed by XChaCha20-Poly1305 in one of two forms::

    0xE1 | length of the key id | key id | nonce (24) | sealed                     under the stage's key
    0xE2 | length of the key id | key id | serial (8) | mark (8) | nonce (24) | sealed     under the data key of a shopper

Everything before the nonce, the topic, the partition and the key are associated data: a value in another place does not open. The serial
names the data key, and the mark says that the stage wrote that serial at this place: it can be checked without the data key. So a value
whose data key was shredded is told from one that somebody altered.

All keys follow from the state key: the stage's from the topic, a shopper's from her data key too. Neither the state key nor the data key
alone opens anything of hers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from hmac import compare_digest
from struct import pack
from typing import NamedTuple

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as _decrypt
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as _encrypt
from nacl.exceptions import CryptoError

from streams.errors import ConfigurationError
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys

OF_STAGE, OF_SHOPPER = b"\xe1", b"\xe2"
"""First bytes of sealed values. No stage's own version byte is one of them."""
NONCE = 24
SERIAL = 8
_MARK = 8
_SECRET = 32
_OVERHEAD = 2 + NONCE + 16


class Altered(Exception):
    """A value was altered, cut, or moved from another place. Whoever knows the place makes an error of the product of it."""


class DataKey(NamedTuple):
    """The key of one shopper in one stage."""

    serial: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"<data key {self.serial.hex()}>"


def new_data_key() -> DataKey:
    random = os.urandom(SERIAL + _SECRET)
    return DataKey(random[:SERIAL], random[SERIAL:])


def dump_data_keys(keys: tuple[DataKey, ...]) -> bytes:
    """The one to seal with first; a second one only opens what is not sealed anew yet."""
    return b"".join(serial + secret for serial, secret in keys)


def load_data_keys(data: bytes) -> tuple[DataKey, ...]:
    """What ``dump_data_keys`` made. Raises Altered for anything else."""
    size = SERIAL + _SECRET
    if not data or len(data) % size:
        raise Altered
    return tuple(DataKey(data[at : at + SERIAL], data[at + SERIAL : at + size]) for at in range(0, len(data), size))


def is_sealed(data: bytes) -> bool:
    return data[:1] in (OF_STAGE, OF_SHOPPER)


def key_id_of(data: bytes) -> bytes | None:
    """The id of the state key that a value is sealed under; None for a plain one."""
    return data[2 : 2 + data[1]] if len(data) > 1 and is_sealed(data) else None


def serial_of(data: bytes) -> bytes | None:
    """The serial of the data key that a value is sealed under; None where it is under none."""
    if data[:1] != OF_SHOPPER or len(data) < 2:
        return None
    begin = 2 + data[1]
    return data[begin : begin + SERIAL]


def nonces(count: int) -> Iterator[bytes]:
    """Random ones: of 192 bits, so that no two are ever the same."""
    random = os.urandom(NONCE * count)
    return (random[at : at + NONCE] for at in range(0, len(random), NONCE))


class Place:
    """A partition of a topic, as values are bound to it."""

    def __init__(self, keys: StateKeys, topic: str, partition: int, what: str) -> None:
        """``what`` names the state in errors."""
        name = topic.encode()
        self._keys = keys
        self._bound = pack(">H", len(name)) + name + pack(">i", partition)
        self._stage_keys = {key_id: _derived(key, b"stage" + name) for key_id, key in keys.by_id.items()}
        self._mark_keys = {key_id: _derived(key, b"mark" + name) for key_id, key in keys.by_id.items()}
        current = keys.current.key_id.encode()
        self.current = current
        self._stage_head = _head(OF_STAGE, current)
        self._what = what

    # --- under the stage's key

    def seal(self, key: bytes, value: bytes, nonce: bytes) -> bytes:
        head = self._stage_head
        return head + nonce + _encrypt(value, head + self._bound + key, nonce, self._stage_keys[self.current])

    def open(self, key: bytes, data: bytes) -> bytes:
        """Raises Altered, and ConfigurationError where the state key is missing."""
        begin = self._begin(data, OF_STAGE, 0)
        secret = self._stage_keys[self.key_id(data)]
        return _opened(data, begin, self._bound + key, secret)

    # --- under a shopper's

    def sealer(self, key: bytes, data_key: DataKey) -> tuple[bytes, bytes, bytes]:
        """The head, the associated data and the secret with which all values of a shopper are sealed now. To be kept: it costs more than
        sealing does."""
        head = _head(OF_SHOPPER, self.current) + data_key.serial
        head += self._mark(self.current, data_key.serial, key)
        return head, head + self._bound + key, _derived(self._keys.current, b"shopper" + data_key.secret)

    def open_with(self, key: bytes, data: bytes, data_key: DataKey) -> bytes:
        """Raises as ``open``."""
        begin = self._begin(data, OF_SHOPPER, SERIAL + _MARK)
        secret = _derived(self._keys.by_id[self.key_id(data)], b"shopper" + data_key.secret)
        return _opened(data, begin, self._bound + key, secret)

    def check_mark(self, key: bytes, data: bytes) -> None:
        """Raises Altered where the stage never sealed under that serial at this place; else its data key is gone."""
        begin = self._begin(data, OF_SHOPPER, SERIAL + _MARK)
        key_id, serial = self.key_id(data), data[begin - SERIAL - _MARK : begin - _MARK]
        if not compare_digest(self._mark(key_id, serial, key), data[begin - _MARK : begin]):
            raise Altered

    def key_id(self, data: bytes) -> bytes:
        """Of a sealed value. Raises ConfigurationError where the keys folder has no such key."""
        key_id = key_id_of(data) or b""
        if key_id not in self._keys.by_id:
            name = key_id.decode("ascii", "replace") if key_id.isalnum() else "?"
            raise ConfigurationError(
                f"a value of {self._what} is sealed under the state key {name!r}, which the keys folder does not hold; "
                f"put it back as state-{name}.key, or, if no worker ever had it, treat the state as altered (docs/at-rest.md)"
            )
        return key_id

    def _mark(self, key_id: bytes, serial: bytes, key: bytes) -> bytes:
        return blake2b(serial + self._bound + key, key=self._mark_keys[key_id], digest_size=_MARK).digest()

    def _begin(self, data: bytes, form: bytes, more: int) -> int:
        """Where the nonce begins."""
        if len(data) < _OVERHEAD + more or data[:1] != form:
            raise Altered
        begin = 2 + data[1] + more
        if len(data) < begin + NONCE + 16:
            raise Altered
        return begin


def seal_as(sealer: tuple[bytes, bytes, bytes], value: bytes, nonce: bytes) -> bytes:
    """By what ``Place.sealer`` gave."""
    head, bound, secret = sealer
    return head + nonce + _encrypt(value, bound, nonce, secret)


def open_as(sealer: tuple[bytes, bytes, bytes], data: bytes) -> bytes:
    """A value that begins with the sealer's head. Raises Altered."""
    head, bound, secret = sealer
    begin = len(head)
    try:
        return _decrypt(data[begin + NONCE :], bound, data[begin : begin + NONCE], secret)
    except (CryptoError, ValueError):
        raise Altered from None


def _opened(data: bytes, begin: int, bound: bytes, secret: bytes) -> bytes:
    try:
        return _decrypt(data[begin + NONCE :], data[:begin] + bound, data[begin : begin + NONCE], secret)
    except (CryptoError, ValueError):
        raise Altered from None


def _head(form: bytes, key_id: bytes) -> bytes:
    return form + bytes((len(key_id),)) + key_id


def _derived(key: StateKey, purpose: bytes) -> bytes:
    return blake2b(purpose, key=key.secret, digest_size=32, person=b"veilstream state").digest()
