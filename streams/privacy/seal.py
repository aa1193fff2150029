"""Sealed boxes that only the holder of a private key can open (libsodium: X25519, XSalsa20-Poly1305), and sealed ids.

A sealed id is one byte of version, a box, and a signature of ``ingest`` (64 bytes) over the pseudonym of the record and what stands before
it. So it opens for the subscriber alone, it was made by ingest, and it belongs to this pseudonym. Before 0.2 it was the box alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ConfigurationError
from streams.privacy.padding import block, padded, unpadded
from streams.privacy.signing import SIGNATURE_BYTES, is_signed, sign

_BLOCK = 64
_VERSION = b"\x01"
_BOX_OVERHEAD = 48
_UNSIGNED_REST = _BOX_OVERHEAD % _BLOCK
"""What the length of a sealed id without a signature leaves when divided by the block. One with a signature leaves one more."""
_SIGNED_REST = (len(_VERSION) + _BOX_OVERHEAD + SIGNATURE_BYTES) % _BLOCK
_MOST_PSEUDONYM = 255


class Sealer:
    """Seals to one public key."""

    def __init__(self, public_key: PublicKey) -> None:
        self._box = SealedBox(public_key)

    def seal(self, message: bytes) -> bytes:
        """The message sealed; 48 bytes longer."""
        return self._box.encrypt(message)


class IdSealer:
    """Seals user ids to the subscriber's public key, and signs them with ingest's key."""

    def __init__(self, public_key: PublicKey, signing_key: SigningKey) -> None:
        self._box = SealedBox(public_key)
        self._key = signing_key

    def seal(self, user_id: str, pseudonym: str) -> bytes:
        """A sealed id for records of this pseudonym (255 bytes at most). The user id is padded to a multiple of 64 bytes first, because the
        length of a box could identify an id."""
        message = user_id.encode()
        sealed = _VERSION + self._box.encrypt(padded(message, block(len(message), _BLOCK)))
        return sealed + sign("sealed id", _signed(pseudonym.encode(), sealed), self._key)


PrivateKeys = PrivateKey | Sequence[PrivateKey]
"""The private key, or several while one replaces another: a box does not say to which it was sealed, so they are tried in turn."""


def open_sealed(private_key: PrivateKeys, sealed: bytes) -> bytes:
    """The message in a box. Raises ConfigurationError if no key fits it."""
    for key in (private_key,) if isinstance(private_key, PrivateKey) else private_key:
        with suppress(CryptoError, TypeError, ValueError):
            return SealedBox(key).decrypt(sealed)
    raise ConfigurationError("this box was sealed to another key, or is damaged; use the private key that belongs to it")


def open_sealed_id(private_key: PrivateKeys, sealed: bytes, *, pseudonym: str, verify_key: VerifyKey, accept_unsigned: bool = False) -> str:
    """The user id that ingest sealed for the record with this pseudonym. ``verify_key`` is that of ingest.pub.

    With ``accept_unsigned``, sealed ids from before they were signed are opened too, which anybody may have made who has the
    subscriber's public key. Raises ConfigurationError for what ingest did not make, what belongs to another pseudonym, and where the
    private key does not fit.
    """
    box = sealed
    if len(sealed) % _BLOCK == _SIGNED_REST and sealed[:1] == _VERSION:
        box = sealed[len(_VERSION) : -SIGNATURE_BYTES]
        name = pseudonym.encode("utf-8", "surrogatepass")
        is_ours = len(name) <= _MOST_PSEUDONYM and is_signed(
            "sealed id", _signed(name, sealed[:-SIGNATURE_BYTES]), sealed[-SIGNATURE_BYTES:], verify_key
        )
        if not is_ours:
            raise ConfigurationError(
                "this sealed id was not made by ingest for this pseudonym; if ingest's key was replaced, use the ingest.pub of that time"
            )
    elif len(sealed) % _BLOCK != _UNSIGNED_REST:
        raise ConfigurationError("this is no sealed id of this version")
    elif not accept_unsigned:
        raise ConfigurationError(
            "this sealed id has no signature: it is from before the update to signed ones, or forged; see docs/clients.md#sealed-ids"
        )
    try:
        message = unpadded(open_sealed(private_key, box))
    except ValueError:
        raise ConfigurationError("this box holds no padded user id") from None
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ConfigurationError("this box holds no user id") from None


def _signed(pseudonym: bytes, sealed: bytes) -> bytes:
    """What the signature is over: the pseudonym with its length before it, so that nothing of it passes for a part of the box."""
    return bytes((len(pseudonym),)) + pseudonym + sealed
