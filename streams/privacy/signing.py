"""Signatures (Ed25519), each for a thing of its own. A sealed box says nothing of who made it: whoever has the public key can seal."""

from __future__ import annotations

from typing import Literal

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SIGNATURE_BYTES = 64
Subject = Literal["sealed id", "dead letter", "model manifest", "model announcement", "audit link", "audit proof"]


def sign(subject: Subject, message: bytes, key: SigningKey) -> bytes:
    """64 bytes. The subject is signed along, so that no signature of one thing passes for that of another."""
    return bytes(key.sign(_prefix(subject) + message).signature)


def is_signed(subject: Subject, message: bytes, signature: bytes, key: VerifyKey) -> bool:
    """Whether ``sign`` made this signature with the key's secret half."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        key.verify(_prefix(subject) + message, signature)
    except BadSignatureError:
        return False
    return True


def _prefix(subject: Subject) -> bytes:
    return f"veilstream {subject}\n".encode("ascii")
