"""Chains as the stages and runs write them, as records of the topic, and what a verifier says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nacl.signing import SigningKey

from streams.audit.anchors import Anchor
from streams.audit.auditors import AUDITORS
from streams.audit.chain import ChainId, Head, next_link
from streams.audit.verifier import Finding, Verifier
from streams.engine.records import MemoryRecord
from streams.serde.codec import local_codecs
from streams.topics import PRIVACY_AUDIT

CODEC = local_codecs().for_topic(PRIVACY_AUDIT)
KEYS = {name: SigningKey(bytes([number]) * 32) for number, name in enumerate(AUDITORS, 1)}
PUBLIC = {name: [key.verify_key] for name, key in KEYS.items()}
NOW = 1_795_755_600_000


class Writer:
    """Appends to chains, and has the records so far in one partition of the topic."""

    def __init__(self) -> None:
        self.heads: dict[ChainId, Head] = {}
        self.values: list[tuple[bytes, bytes]] = []

    def append(self, stage: str, chain: str, action: str = "erased", subject: str | None = "k1.abc", **details: str) -> dict[str, Any]:
        name = ChainId(stage, chain)
        link = next_link(
            self.heads.get(name, Head()),
            name,
            KEYS[stage],  # type: ignore[index]
            action=action,
            subject=subject,
            details={key.replace("_", " "): value for key, value in details.items()},
            at_ms=NOW + len(self.values),
        )
        self.heads[name] = link.head
        self.values.append((stage.encode(), CODEC.encode(link.record)))
        return dict(link.record)

    @property
    def records(self) -> list[MemoryRecord]:
        return records_of(self.values)

    def anchors(self) -> list[Anchor]:
        return [Anchor(name, head, "the file") for name, head in self.heads.items()]


def records_of(values: Iterable[tuple[bytes | None, bytes | None]], partition: int = 0) -> list[MemoryRecord]:
    """With offsets without a gap, as somebody would write them who makes the topic anew."""
    return [MemoryRecord(PRIVACY_AUDIT, partition, offset, NOW, key, value) for offset, (key, value) in enumerate(values)]


def verified(records: Sequence[MemoryRecord], anchors: Iterable[Anchor] = (), keys: Any = None) -> tuple[Verifier, list[Finding]]:
    findings: list[Finding] = []
    verifier = Verifier(CODEC, PUBLIC if keys is None else keys, anchors=anchors, tell=findings.append)
    for record in records:
        verifier.look_at_anchors(record)
    for record in records:
        verifier.take(record)
    verifier.finish()
    return verifier, findings
