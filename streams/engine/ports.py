"""Protocols of what a stage gets besides records: codecs, an encoder, dead letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from streams.engine.records import OutputRecord, SourceRecord
from streams.errors import RecordError

FloatArray = npt.NDArray[np.float32]
T_co = TypeVar("T_co", covariant=True)


class ModelProvider(Protocol[T_co]):
    """Something that is replaced while the stage runs, such as the models that are served."""

    def use(self) -> AbstractContextManager[T_co]:
        """What is current now; it stays as it is, and open, until the context ends."""
        ...


class TextEncoder(Protocol):
    """Texts to unit vectors."""

    @property
    def version(self) -> str: ...
    @property
    def dimension(self) -> int: ...

    async def encode_many(self, texts: Sequence[str], /) -> FloatArray:
        """One unit vector a text: float32 [len(texts), dimension], in input order."""
        ...


class CandidatePairs(Protocol):
    """Pairs ordered by user."""

    @property
    def users(self) -> npt.NDArray[np.int64]: ...
    @property
    def rows(self) -> npt.NDArray[np.int64]: ...


class CandidateScan(Protocol):
    """An index of a large catalogue's vectors."""

    def put(self, rows: npt.NDArray[np.int64], vectors: FloatArray, /) -> None:
        """Set rows to unit or zero vectors."""
        ...

    def candidates(
        self,
        users: FloatArray,
        wanted: npt.NDArray[np.int64],
        *,
        prior: FloatArray | None,
        masked: npt.NDArray[np.int64],
        floor: float,
    ) -> CandidatePairs:
        """Pairs that hold (all but surely) each user's ``wanted`` best by cosine + prior above ``floor``; never a ``masked`` row."""
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

    def build(self, record: SourceRecord, error: RecordError, *, attempt: int = 1, line: int = 0) -> OutputRecord:
        """``attempt``: how often the record was handled; ``line``: which of its lines it is about."""
        ...
