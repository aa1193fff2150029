"""Encodes texts under one model, and holds the models under which items are encoded now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from streams.engine.ports import FloatArray, TextEncoder
from streams.errors import FATAL, ConfigurationError, Reason, RecordError, TransientError
from streams.serde.vectors import key_prefix, to_bytes


class ActiveEncoders(NamedTuple):
    """Under which models every item is kept."""

    encoders: Sequence[TextEncoder]
    """The first is the one that everybody is served by; an item that it can't encode is refused."""
    retired: frozenset[str] = frozenset()
    """Versions whose vectors are no longer needed."""


class OneEncoder:
    """Where no model is ever replaced. An ``InUse`` of ``ActiveEncoders``."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Raises ConfigurationError if the version can't be part of a key."""
        key_prefix(encoder.version)
        self._active = ActiveEncoders((encoder,))

    @contextmanager
    def use(self) -> Iterator[ActiveEncoders]:
        yield self._active


async def encode_texts(encoder: TextEncoder, texts: Mapping[str, str]) -> dict[str, bytes | RecordError]:
    """Texts by hash to vectors by hash, all encoded together; an error in place of a vector where the model gave no direction.

    Raises what the encoder raises, and ConfigurationError if its answer has the wrong shape.
    """
    if not texts:
        return {}
    encoded: FloatArray = await encoder.encode_many(list(texts.values()))
    if encoded.shape != (len(texts), encoder.dimension):
        raise ConfigurationError(
            f"the encoder gave an array of shape {encoded.shape} for {len(texts)} texts of dimension {encoder.dimension}"
        )
    vectors: dict[str, bytes | RecordError] = {}
    for fingerprint, vector in zip(texts, encoded, strict=True):
        try:
            vectors[fingerprint] = to_bytes(vector)
        except RecordError as error:
            vectors[fingerprint] = error
    return vectors


async def encode_beside(encoder: TextEncoder, texts: Mapping[str, str]) -> dict[str, bytes | RecordError]:
    """``encode_texts`` with a model that does not serve all shoppers. If it fails on a text, only this text has no vector under this
    model.
    """
    try:
        return await encode_texts(encoder, texts)
    except (*FATAL, TransientError):
        raise
    except Exception as error:  # noqa: BLE001 - an encoder may raise anything; the error goes where the vector would
        if len(texts) == 1:
            return dict.fromkeys(texts, RecordError(Reason.POISON, f"{type(error).__name__} in the encoder"))
    return {name: vector for one, text in texts.items() for name, vector in (await encode_beside(encoder, {one: text})).items()}
