"""Canonical bytes of a value, and Ed25519 signatures over them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ModelRefused, Refusal

SIGNATURE_BYTES = 64
Purpose = Literal["manifest", "announcement"]


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON in ASCII, keys sorted, no spaces, floats by the shortest text that reads back the same.

    1 and 1.0 differ, so the caller must give every number the type of its field. Raises ModelRefused for numbers that are not
    finite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def sign(purpose: Purpose, message: bytes, key: SigningKey) -> bytes:
    """64 bytes of Ed25519. The purpose is signed along, so that no manifest passes for an announcement."""
    return bytes(key.sign(_prefix(purpose) + message).signature)


def is_signed(purpose: Purpose, message: bytes, signature: bytes, key: VerifyKey) -> bool:
    """Whether ``sign`` made this signature with the key's secret half."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        key.verify(_prefix(purpose) + message, signature)
    except BadSignatureError:
        return False
    return True


def _prefix(purpose: Purpose) -> bytes:
    return f"veilstream model {purpose}\n".encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ModelRefused(Refusal.NOT_FINITE, "a number in it is not finite; measure the model again before signing it")
        return value + 0.0  # -0.0 becomes 0.0
    return value
