"""A ranker as bytes: safetensors with a header of text, never a pickle. Reading checks everything, and refuses what it can't serve."""

from __future__ import annotations

import json

import numpy as np

from streams.ranking.learned.crosses import Crosses, no_crosses
from streams.ranking.learned.features import schema
from streams.ranking.learned.model import Forest, Ranker
from streams.ranking.learned.related import RelatedItems
from streams.ranking.together_table import Neighbours

_FORMAT, _WITHOUT_CROSSES = "2", "1"
_KINDS = {
    "tables": ("float32", 2),
    "numbers": ("float64", 1),
    "related.items": ("uint8", 1),
    "related.lengths": ("int64", 1),
    "related.starts": ("int64", 1),
    "related.others": ("int32", 1),
    "related.strengths": ("float32", 1),
    "crosses.features": ("uint8", 2),
    "crosses.bins": ("uint8", 3),
    "crosses.tables": ("float32", 2),
    "forest.features": ("uint8", 2),
    "forest.thresholds": ("uint8", 2),
    "forest.values": ("float32", 2),
    "forest.shapley": ("float32", 3),
}
"""Type and dimensions of each array. The compiled loops check nothing."""


def ranker_bytes(ranker: Ranker) -> bytes:
    """The content of the file; ``ranker_from`` reads it."""
    from safetensors.numpy import save

    names = [item.encode() for item in ranker.related.items]
    neighbours, forest = ranker.related.neighbours, ranker.forest
    tensors = {
        "tables": ranker.tables,
        "numbers": np.array([ranker.base, ranker.slope, ranker.intercept], np.float64),
        "related.items": np.frombuffer(b"".join(names), np.uint8),
        "related.lengths": np.array([len(name) for name in names], np.int64),
        "related.starts": neighbours.starts,
        "related.others": neighbours.others.astype(np.int32),
        "related.strengths": neighbours.strengths,
        **{f"crosses.{field}": array for field, array in ranker.crosses._asdict().items()},
        **{f"forest.{field}": array for field, array in forest._asdict().items()},
    }
    header = {"format": _FORMAT, "schema": schema(), "features": json.dumps(list(ranker.names)), "fitted": ranker.fitted}
    return save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, header)


def ranker_from(data: bytes) -> Ranker:
    """The inverse. Raises ValueError for another format, schema, order of features, and for damaged or impossible content."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data)
    if header.get("format") not in (_FORMAT, _WITHOUT_CROSSES):
        raise ValueError(f"the ranker is of format {header.get('format')}, this version reads {_FORMAT}")
    if header.get("schema") != schema():
        raise ValueError(f"the ranker was fitted to features of schema {header.get('schema')}, this version computes {schema()}")
    try:
        found = load(data)
        if header["format"] == _WITHOUT_CROSSES:
            if any(name.startswith("crosses.") for name in found):
                raise ValueError("the ranker's format has no tables of two features, and its file has some")
            found.update({f"crosses.{field}": array for field, array in no_crosses()._asdict().items()})
        for name, kind in _KINDS.items():
            if (found[name].dtype.name, found[name].ndim) != kind:
                raise ValueError(f"the ranker's {name} are {found[name].dtype.name} in {found[name].ndim} dimensions, not {kind}")
        names = json.loads(header.get("features", "[]"))
        lengths = found["related.lengths"]
        text, ends = found["related.items"].tobytes(), np.cumsum(lengths).tolist()
        if (lengths < 0).any() or lengths.sum() != len(text):
            raise ValueError("the ranker's names of items are not as long as they should be")
        items = [text[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
        neighbours = Neighbours(found["related.starts"], found["related.others"].astype(np.int64), found["related.strengths"])
        base, slope, intercept = found["numbers"].tolist()
        forest = Forest(*(found[f"forest.{field}"] for field in Forest._fields))
        crosses = Crosses(*(found[f"crosses.{field}"] for field in Crosses._fields))
        related, fitted = RelatedItems(items, neighbours), header.get("fitted", "")
        return Ranker(found["tables"], base, slope, intercept, related, forest, tuple(names), crosses, fitted)
    except (SafetensorError, KeyError, UnicodeDecodeError, IndexError, TypeError) as error:
        raise ValueError(f"the ranker's file is damaged ({type(error).__name__})") from None


def _header(data: bytes) -> dict[str, str]:
    """The text of safetensors' header: eight bytes of its length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    try:
        if not 0 < length <= len(data) - 8:
            raise ValueError
        found = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, AttributeError):
        raise ValueError("the ranker's file is damaged (no header)") from None
