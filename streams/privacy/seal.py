"""Sealed boxes that only the holder of a private key can open (libsodium: X25519, XSalsa20-Poly1305)."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from streams.errors import ConfigurationError

_BLOCK = 64


class Sealer:
    """Seals to one public key."""

    def __init__(self, public_key: PublicKey) -> None:
        self._box = SealedBox(public_key)

    def seal(self, message: bytes) -> bytes:
        """The message sealed; 48 bytes longer."""
        return self._box.encrypt(message)

    def seal_id(self, user_id: str) -> bytes:
        """A sealed user id. It is padded to a multiple of 64 bytes first, because the length of a box could identify an id."""
        message = user_id.encode()
        padded = message + b"\x80" + b"\x00" * (-(len(message) + 1) % _BLOCK)
        return self._box.encrypt(padded)


def open_sealed(private_key: PrivateKey, sealed: bytes) -> bytes:
    """The message in a box. Raises ConfigurationError if the key does not fit it."""
    try:
        return SealedBox(private_key).decrypt(sealed)
    except (CryptoError, TypeError, ValueError) as error:
        raise ConfigurationError("this box was sealed to another key, or is damaged; use the private key that belongs to it") from error


def open_sealed_id(private_key: PrivateKey, sealed: bytes) -> str:
    """The user id in a box made by ``Sealer.seal_id``. Raises ConfigurationError if the key does not fit it."""
    padded = open_sealed(private_key, sealed)
    message, mark, rest = padded.rpartition(b"\x80")
    if not mark or rest.strip(b"\x00"):
        raise ConfigurationError("this box holds no padded user id")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ConfigurationError("this box holds no user id") from None
