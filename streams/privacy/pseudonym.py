"""Keyed hashes that replace the ids of users, events and sessions.

The hash is BLAKE2b (RFC 7693) with a secret key. Pseudonyms use PyNaCl. The ids that every event needs use hashlib, whose call costs a
tenth (a test proves that both are equal). The ``person`` parameter separates the purposes: an event id reveals nothing about a
pseudonym, even if both have the same input.
"""

from __future__ import annotations

import base64
import hashlib

from nacl.bindings import crypto_generichash_blake2b_salt_personal as blake2b

from streams.privacy.keys import PseudonymKey

_SEPARATOR = b"\x00"
_USER, _EVENT, _SESSION, _POSITION, _RECORD = b"vs-user", b"vs-event", b"vs-session", b"vs-position", b"vs-record"
_ANONYMOUS = b"vs-anonymous"
ANONYMOUS = "anonymous:"
"""What the name of a shopper begins with who is known by an anonymous id only. No user id does."""


class Pseudonymizer:
    """Pseudonyms under one key."""

    def __init__(self, key: PseudonymKey) -> None:
        self._key = key.secret
        self._records = key.records
        self._prefix = key.key_id + "."
        self._event, self._position, self._session = (
            hashlib.blake2b(digest_size=16, key=key.secret, person=person) for person in (_EVENT, _POSITION, _SESSION)
        )

    @property
    def key_id(self) -> str:
        """The name of the key, with which every pseudonym begins."""
        return self._prefix[:-1]

    @property
    def record_key(self) -> bytes:
        """32 bytes, for ids of records by where they came from: a producer knows the places of its own records, and without a key it could
        find them among the clean ones. A rotation leaves it as it is: a record that comes again is known by its id."""
        return self._records or blake2b(b"", digest_size=32, key=self._key, person=_RECORD)

    def pseudonym(self, user_id: str) -> str:
        """``<key id>.<32 characters of base32>``: 160 bits, so that collisions need not be thought of. Anonymous ids are hashed for a
        purpose of their own: none has the pseudonym of a user of the same id."""
        person = _ANONYMOUS if user_id.startswith(ANONYMOUS) else _USER
        digest = blake2b(user_id.encode(), digest_size=20, key=self._key, person=person)
        return self._prefix + base64.b32encode(digest).decode().lower()

    def event_id(self, user_id: str, event_id: str) -> str:
        """32 hexadecimal characters; the same for the same event of the same user, whenever it is sent again."""
        return _hash(self._event, user_id.encode() + _SEPARATOR + event_id.encode())

    def position_id(self, topic: str, partition: int, offset: int, line: int = 0) -> str:
        """The id of an event whose producer gave none, by its record and its place in it: 32 hexadecimal characters."""
        place = f"{topic}/{partition}/{offset}/{line}" if line else f"{topic}/{partition}/{offset}"
        return _hash(self._position, place.encode())

    def session(self, user_id: str, session_id: str) -> str:
        """32 hexadecimal characters."""
        return _hash(self._session, user_id.encode() + _SEPARATOR + session_id.encode())


def _hash(keyed: hashlib.blake2b, message: bytes) -> str:
    copy = keyed.copy()  # which has taken the key in already
    copy.update(message)
    return copy.hexdigest()
