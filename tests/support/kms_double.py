"""A key management service that is none: it turns bytes round."""

from __future__ import annotations


class Turning:
    def wrap(self, content: bytes) -> bytes:
        return content[::-1].hex().encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        return bytes.fromhex(wrapped.decode())[::-1]


def make() -> Turning:
    return Turning()
