"""What a record of the topic is by itself: a link that its stage signed, or not. It needs nothing of any other record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nacl.signing import VerifyKey

from streams.audit.chain import is_link_of, link_hash
from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import RecordError
from streams.privacy.signing import SIGNATURE_BYTES


class Examined(NamedTuple):
    """A link, None if it can't be read. Its hash is empty unless the stage signed it."""

    link: Mapping[str, Any] | None
    hash: bytes
    problem: str
    """Why it is no link that its stage signed; empty if it is one."""
    has_key: bool = True
    """False where there is no public key of its stage."""


def examine(record: SourceRecord, codec: RecordCodec, keys: Mapping[str, Sequence[VerifyKey]]) -> Examined:
    """``keys`` by stage. Raises nothing for what a record may hold."""
    try:
        link = codec.decode(record.value, record.headers)
    except RecordError as error:
        return Examined(None, b"", f"{error}; no stage writes such a record")
    known = keys.get(link["stage"])
    if not known:
        return Examined(link, b"", "there is no public key of its stage; name its folder with --keys", has_key=False)
    if any(is_link_of(link, key) for key in known):
        return Examined(link, link_hash(link), "")
    unsigned = len(link["signature"]) != SIGNATURE_BYTES
    return Examined(link, b"", "it is not signed" if unsigned else f"changed, or not signed by {link['stage']}")
