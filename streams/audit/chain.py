"""A link of an audit chain: its canonical form, its hash, its signature. Pure.

The canonical form is JSON as RFC 8785 wants it: UTF-8, keys sorted, no spaces, bytes as hexadecimal text. A field that has the schema's
default is left out, so that signatures stay valid when the schema gets another field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from nacl.signing import SigningKey, VerifyKey

from streams.privacy.signing import is_signed, sign
from streams.serde.records import AuditRecord

NOTHING_BEFORE = bytes(32)
"""In place of the hash before the first link."""

_DEFAULTS: Mapping[str, Any] = {"chain": "", "subject": None, "details": {}}
_ACTION = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_SUBJECT = re.compile(r"[A-Za-z0-9._:+-]{1,200}")
_NAME = re.compile(r"[\x20-\x7e]{1,300}")
_MOST_VALUE = 1000
_MOST_DETAILS = 2000


class ChainId(NamedTuple):
    """One chain of all."""

    stage: str
    chain: str

    def __str__(self) -> str:
        return f"{self.stage} {self.chain}"


class Head(NamedTuple):
    """The last link of a chain."""

    sequence: int = -1
    """-1: there is none."""
    hash: bytes = NOTHING_BEFORE


class Link(NamedTuple):
    """A new link, and the chain's head with it."""

    record: AuditRecord
    head: Head


def next_link(
    head: Head,
    chain: ChainId,
    key: SigningKey,
    *,
    action: str,
    subject: str | None = None,
    details: Mapping[str, str] | None = None,
    at_ms: int,
) -> Link:
    """The link after ``head``, signed. The same arguments give the same bytes.

    Raises ValueError where the action is no word (a-z 0-9 _ . -), the subject is neither a pseudonym nor a version (letters, digits and
    . _ : + -; an address or a name is none), or the details are too many or too long.
    """
    record = AuditRecord(
        stage=chain.stage,
        chain=chain.chain,
        sequence=head.sequence + 1,
        action=action,
        subject=subject,
        details=dict(details or {}),
        occurred_at=at_ms,
        previous_hash=head.hash,
        signature=b"",
    )
    _check(record)
    try:
        record["signature"] = sign("audit link", _canonical(record, signed=False), key)
    except TypeError as error:  # half a surrogate pair, which is no text
        raise ValueError("a detail of an audit link is no text") from error
    return Link(record, Head(record["sequence"], link_hash(record)))


def link_hash(record: Mapping[str, Any]) -> bytes:
    """SHA-256 of the whole link, its signature included: 32 bytes."""
    return sha256(_canonical(record, signed=True)).digest()


def is_link_of(record: Mapping[str, Any], key: VerifyKey) -> bool:
    """Whether the holder of the key's secret half made this link, and it was not changed since."""
    return is_signed("audit link", _canonical(record, signed=False), record["signature"], key)


def chain_of(record: Mapping[str, Any]) -> ChainId:
    return ChainId(record["stage"], record["chain"])


def _canonical(record: Mapping[str, Any], *, signed: bool) -> bytes:
    shown = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in record.items()
        if (signed or name != "signature") and not (name in _DEFAULTS and value == _DEFAULTS[name])
    }
    return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)


def _check(record: AuditRecord) -> None:
    if not _ACTION.fullmatch(record["action"]):
        raise ValueError("an action of the audit is a word of a-z, 0-9 and _ . -")
    subject = record["subject"]
    if subject is not None and not _SUBJECT.fullmatch(subject):
        raise ValueError("the subject of an audit link is a pseudonym or a model's version, never an id of the shop's")
    details = record["details"]
    if len(details) > _MOST_DETAILS or any(not _NAME.fullmatch(name) for name in details):
        raise ValueError(f"an audit link has at most {_MOST_DETAILS} details, with names in ASCII of 300 characters at most")
    if any(len(value) > _MOST_VALUE for value in details.values()):
        raise ValueError(f"a detail of an audit link has at most {_MOST_VALUE} characters")
