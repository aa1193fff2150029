"""The key that stages sign with, where a test does not care whose it is, and what a subscriber does with its public half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams.privacy.seal import open_sealed_id

SIGNING_KEY = SigningKey(bytes(range(32)))


def opened_id(key: PrivateKey, record: Mapping[str, Any]) -> str:
    """The user id on a clean event or recommendation."""
    return open_sealed_id(key, record["sealed_id"], pseudonym=record["pseudonym"], verify_key=SIGNING_KEY.verify_key)
