"""Who wrote a dead letter. Everybody who knows the recovery key's public half can seal a record into one; only a stage can sign it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from nacl.signing import SigningKey, VerifyKey

from streams.privacy.signing import is_signed, sign
from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS

SIGNATURE_HEADER = "veilstream-signature"


class Origin(StrEnum):
    """What a letter's signature says; the value is what an operator is told."""

    SIGNED = "signed"
    UNSIGNED = "not signed"
    NOT_VERIFIED = "not verified: there is no public key of its stage"
    FORGED = "FORGED: changed, or not signed by its stage"


def sign_letter(value: bytes, key: SigningKey) -> bytes:
    """64 bytes, of all of the letter's value. It names the stage, the position, and what is sealed."""
    return sign("dead letter", _digest(value), key)


def origin(letter: Mapping[str, Any], value: bytes, headers: Collection[tuple[str, bytes | None]], keys: Mapping[str, VerifyKey]) -> Origin:
    """Of a letter, decoded and as its record has it; ``keys`` by stage."""
    signatures = [content for name, content in headers if name == SIGNATURE_HEADER]
    if not signatures:
        return Origin.UNSIGNED
    key = keys.get(letter["stage"])
    if key is None:
        return Origin.NOT_VERIFIED
    is_ours = len(signatures) == 1 and is_signed("dead letter", _digest(value), signatures[0] or b"", key)
    return Origin.SIGNED if is_ours else Origin.FORGED


def replayable(raw_topics: Collection[str], item_topics: Collection[str]) -> dict[str, str]:
    """The topics, without prefix, that letters are replayed into: those that producers write and a stage reads. To each the stage whose
    letters these are. ``raw_topics`` and ``item_topics`` are the shop's own."""
    events = dict.fromkeys((BEHAVIOUR_RAW, *raw_topics), "ingest")
    return {**events, **dict.fromkeys((CATALOGUE_ITEMS, *item_topics), "catalogue")}


def why_not_replayed(
    letter: Mapping[str, Any], origin: Origin, stages: Mapping[str, str], topic_prefix: str, *, accept_unsigned: bool
) -> str | None:
    """Why ``recover`` must not publish what is in a letter; None if it may. ``stages`` as ``replayable`` gives them.

    Whatever the signature says: nothing is published to a topic that only the product writes (``models``, a clean topic), and no stage's
    letter leads to another stage's source.
    """
    source = str(letter["source_topic"])
    stage = stages.get(source.removeprefix(topic_prefix)) if source.startswith(topic_prefix) else None
    if stage is None:
        return "only what producers wrote is replayed, to the topics of VEILSTREAM_TOPIC_PREFIX that they write; this came from another"
    if letter["stage"] != stage:
        return f"records of that topic are refused by {stage}, not by the stage that the letter names"
    if origin is Origin.UNSIGNED and not accept_unsigned:
        return "it is not signed: from before letters were signed, or forged (--accept-unsigned)"
    if origin is Origin.NOT_VERIFIED:
        return f"{stage}.pub is needed in VEILSTREAM_KEYS_DIR, to know whether {stage} wrote it"
    return str(origin) if origin is Origin.FORGED else None


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=64).digest()
