"""Which model serves which shopper. Encoder, item matrix and parameters always belong to one version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from streams.engine.ports import TextEncoder
from streams.errors import ConfigurationError
from streams.models.hotswap.query_vectors import QueryVectors
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.model import Ranker
from streams.ranking.rules import ProfileRules


@dataclass(frozen=True, slots=True)
class ServingModel:
    """All that a recommendation's vectors, scores and threshold come from."""

    queries: QueryVectors
    matrix: ItemMatrix
    rules: ProfileRules
    """Half-life, popularity weight and threshold are the model's own; nothing in them decides what a profile holds."""
    ranker: Ranker | None = None
    """None: the score is a sum by hand-set weights."""

    @property
    def version(self) -> str:
        return self.matrix.version


def serving_model(encoder: TextEncoder, matrix: ItemMatrix, rules: ProfileRules, ranker: Ranker | None = None) -> ServingModel:
    """Raises ConfigurationError if encoder and matrix are of different models."""
    if (encoder.version, encoder.dimension) != (matrix.version, matrix.dimension):
        raise ConfigurationError(f"the encoder is {encoder.version}, the item matrix holds {matrix.version}; both must be one model")
    return ServingModel(QueryVectors(encoder), matrix, rules, ranker)


@dataclass(frozen=True, slots=True)
class Routing:
    """The models that serve at one moment."""

    stable: ServingModel
    canary: ServingModel | None = None
    share: float = 0.0
    """Of the pseudonyms, for the canary."""

    def of(self, pseudonym: str) -> ServingModel:
        """The model for this shopper."""
        canary = self.canary
        return canary if canary is not None and in_canary(pseudonym, self.share, canary.version) else self.stable


class OneModel:
    """Where no model is ever replaced. An ``InUse`` of ``Routing``."""

    def __init__(self, encoder: TextEncoder, matrix: ItemMatrix, rules: ProfileRules, ranker: Ranker | None = None) -> None:
        """Raises as ``serving_model``."""
        self._routing = Routing(serving_model(encoder, matrix, rules, ranker))

    @contextmanager
    def use(self) -> Iterator[Routing]:
        yield self._routing


def in_canary(pseudonym: str, share: float, version: str) -> bool:
    """Whether this shopper gets the model of this version first: the same answer everywhere and always. Who is in at a share is in at
    every larger one; another version chooses other people, so that not always the same ones bear the risk."""
    digest = blake2b(f"{version}\0{pseudonym}".encode(), digest_size=8, person=b"vs.canary").digest()
    return int.from_bytes(digest, "big") < share * 2.0**64
