"""Vectors in ``items.vectors``: record keys, and bytes that are verified to be a unit vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.errors import ConfigurationError, Reason, RecordError

_LITTLE_ENDIAN = np.dtype("<f4")


def key_prefix(model_version: str) -> bytes:
    """What all keys of a model version begin with. Raises ConfigurationError for a version that would make keys ambiguous."""
    if not model_version or "/" in model_version:
        raise ConfigurationError("a model version must not be empty or hold a slash, since it begins the keys of items.vectors")
    return f"{model_version}/".encode()


def vector_key(model_version: str, item_id: str) -> bytes:
    """``<model version>/<item id>``."""
    return key_prefix(model_version) + item_id.encode()


def to_bytes(vector: npt.NDArray[np.float32]) -> bytes:
    """Scaled to unit length, little-endian float32. Raises RecordError if the encoder gave no direction."""
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not norm > 0 or not np.isfinite(norm):
        raise RecordError(Reason.POISON, "the encoder gave this item's text no usable vector")
    return (vector / np.float32(norm)).astype(_LITTLE_ENDIAN).tobytes()


def from_bytes(data: bytes, dimension: int) -> npt.NDArray[np.float32]:
    """A unit vector [dimension]. Raises RecordError if the bytes are none."""
    if len(data) != 4 * dimension:
        raise RecordError(Reason.UNDECODABLE, f"a vector of {len(data)} bytes; {4 * dimension} expected")
    vector = np.frombuffer(data, _LITTLE_ENDIAN)
    square = float(vector @ vector)
    if not 0.99 < square < 1.01:
        raise RecordError(Reason.UNDECODABLE, "the vector is not of unit length")
    return vector.astype(np.float32, copy=False)
