"""The one table of features: what a ranker may know of a shopper and a candidate, and how each number becomes a level.

Serving, training and backtest compute features by the same functions, and a ranker sees levels only: whole numbers from 0 to 255 on a fixed
scale. So a model is a table lookup, a log of features is a byte each, and a feature that is missing or infinite has a level too.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]
LEVELS = 256


class Feature(NamedTuple):
    """One number that a ranker may use."""

    name: str
    meaning: str
    unit: str
    source: str
    """Where the number comes from."""
    about: Literal["item", "shopper"]
    """Whose data it is: the item's alone, the same for all shoppers, or the shopper's too."""
    group: str
    """The kind of reason that it gives."""
    curve: Literal["linear", "root", "log"]
    """How values lie on the scale: as they are, by their root with sign, or by ln(1 + value)."""
    low: float
    """Value, on that curve, of level 0."""
    high: float
    """Of level 255."""


FEATURES: tuple[Feature, ...] = (
    Feature("text_history", "similarity to the whole history", "cosine", "item vectors", "shopper", "text", "linear", -1, 1),
    Feature("text_session", "similarity to the last session", "cosine", "item vectors", "shopper", "text", "linear", -1, 1),
    Feature("pairs_history", "bought together with the history", "strength", "items.together", "shopper", "pairs", "root", 0, 1),
    Feature("pairs_session", "bought together with the last session", "strength", "items.together", "shopper", "pairs", "root", 0, 1),
    Feature("related", "related to the history by EASE", "weight", "ranker", "shopper", "pairs", "root", -0.1, 0.9),
    Feature("popularity_2", "events, half-life 2 days", "events", "items.popularity", "item", "popularity", "log", 0, 8),
    Feature("popularity_5", "events, half-life by setting (5 days)", "events", "items.popularity", "item", "popularity", "log", 0, 8),
    Feature("popularity_15", "events, half-life 15 days", "events", "items.popularity", "item", "popularity", "log", 0, 8),
    Feature("popularity_60", "events, half-life 60 days", "events", "items.popularity", "item", "popularity", "log", 0, 8),
    Feature("trend", "log of the rate of events now over the usual", "ratio", "items.popularity", "item", "popularity", "linear", -3, 3),
    Feature("first_event", "time since the item's first event", "days", "items.popularity", "item", "age", "log", 0, 6),
    Feature("last_purchase", "time since the item was last bought", "days", "items.popularity", "item", "age", "log", 0, 6),
    Feature("buyers", "shoppers who bought the item", "shoppers", "items.popularity", "item", "popularity", "log", 0, 9),
    Feature("history", "items in the history", "items", "profile", "shopper", "history", "log", 0, 8),
    Feature("seen", "weight of what the shopper did with the item", "weight", "profile", "shopper", "seen", "linear", -1, 2),
    Feature("category", "share of the history in the item's category", "share", "profile", "shopper", "category", "linear", 0, 1),
    Feature("price", "price bands between the item and the history's mean", "bands", "profile", "shopper", "price", "linear", -16, 16),
    Feature("match", "share of the query's words that the item has", "share", "items.vectors", "shopper", "match", "linear", 0, 1),
)  # fmt: skip
NAMES = tuple(feature.name for feature in FEATURES)
PLACE = {name: place for place, name in enumerate(NAMES)}


def schema() -> str:
    """Twelve hexadecimal characters of all that decides what a level means. A ranker of another schema is never served."""
    text = "\n".join(f"{f.name} {f.curve} {f.low:g} {f.high:g}" for f in FEATURES)
    return blake2b(text.encode(), digest_size=6, person=b"vs.features").hexdigest()


def levels(values: npt.NDArray[np.float32]) -> Levels:
    """uint8 [pairs, features] of float32 [pairs, features], in the order of ``FEATURES``. Values off the scale get its ends; what is not
    a number gets level 0."""
    from encoders.kernels import feature_levels

    curves, lows, highs, scales = _scales()
    logs = np.maximum(values[:, curves == feature_levels.LOG], np.float32(0))
    np.log1p(logs, out=logs)
    found = np.empty(values.shape, np.uint8)
    feature_levels.quantise(np.ascontiguousarray(values), np.ascontiguousarray(logs), curves, lows, highs, scales, found)
    return found


@cache
def _scales() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of all features: the curve by number, low, high, and levels a unit."""
    curves = np.array([("linear", "root", "log").index(feature.curve) for feature in FEATURES], np.int64)
    lows, highs = (np.array([getattr(feature, end) for feature in FEATURES], np.float32) for end in ("low", "high"))
    return curves, lows, highs, np.array([(LEVELS - 1) / (feature.high - feature.low) for feature in FEATURES], np.float32)


def value_of(feature: Feature, level: float) -> float:
    """The value, in the feature's own unit, that has this level."""
    at = feature.low + (feature.high - feature.low) * level / (LEVELS - 1)
    if feature.curve == "root":
        return float(np.copysign(at * at, at))
    return float(np.expm1(at)) if feature.curve == "log" else float(at)
