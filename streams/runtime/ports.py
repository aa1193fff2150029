"""What a stage is given besides records: codecs, an encoder, dead letters. Protocols only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streams.errors import RecordError
from streams.runtime.records import OutputRecord, SourceRecord

FloatArray = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """Texts to unit vectors."""

    @property
    def version(self) -> str: ...
    @property
    def dimension(self) -> int: ...

    async def encode_many(self, texts: Sequence[str], /) -> FloatArray:
        """One unit vector a text: float32 [len(texts), dimension], in input order."""
        ...


class RecordCodec(Protocol):
    """One topic's values to bytes and back."""

    def encode(self, record: Mapping[str, Any], /) -> bytes: ...
    def decode(self, value: bytes | None, headers: Sequence[tuple[str, bytes]] = (), /) -> dict[str, Any]: ...


class TopicCodecs(Protocol):
    """The codecs of all topics."""

    def for_topic(self, topic: str, /) -> RecordCodec: ...
    def reading(self, topic: str, only: Collection[str], /) -> RecordCodec:
        """A codec whose ``decode`` need not give other fields than these."""
        ...


class DeadLetters(Protocol):
    """Makes the dead letter of a refused record."""

    def build(self, record: SourceRecord, error: RecordError) -> OutputRecord: ...
