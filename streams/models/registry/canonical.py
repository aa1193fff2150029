"""Canonical bytes of a value: what is signed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from streams.errors import ModelRefused, Refusal


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON in ASCII, keys sorted, no spaces, floats by the shortest text that reads back the same.

    1 and 1.0 differ, so the caller must give every number the type of its field. Raises ModelRefused for numbers that are not
    finite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ModelRefused(Refusal.NOT_FINITE, "a number in it is not finite; measure the model again before signing it")
        return value + 0.0  # -0.0 becomes 0.0
    return value
