"""Small catalogues and cases for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.training.evaluation.cases import Case, EvaluationCatalogue, Part
from streams.training.evaluation.measure import Measurement
from streams.training.evaluation.metrics import CalibrationBin, PerCase
from streams.training.evaluation.popularity import Popularity

DAY_MS = 86_400_000
START_MS = 1_700_000_000_000


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def catalogue(
    generator: np.random.Generator, items: int = 40, dimension: int = 16, *, counts: np.ndarray | None = None, times: Sequence[int] = (0,)
) -> EvaluationCatalogue:
    """Random directions; popularity as given, or random, the same in every snapshot."""
    own = generator.uniform(0, 30, items) if counts is None else counts
    return EvaluationCatalogue(
        ids=[f"i{n:03}" for n in range(items)],
        vectors=unit(generator.standard_normal((items, dimension))),
        popularity=Popularity(
            np.array([START_MS + t for t in times], np.int64), np.tile(own, (len(times), 1)).astype(np.float64), 5.0 * DAY_MS
        ),
        interactions=np.round(own * 10),
        categories=[("toys", "tools", "tea", None)[n % 4] for n in range(items)],
    )


def case(user: str, history: Sequence[tuple[str, float]], targets: Sequence[str], *, at_ms: int = START_MS, events: int = 20) -> Case:
    """History as (item, age in days)."""
    parts = [Part("item", item, 1.0, int(days * DAY_MS)) for item, days in history]
    return Case(user, parts, frozenset(targets), frozenset(item for item, _ in history) - frozenset(targets), at_ms, events)


def random_cases(generator: np.random.Generator, count: int, items: int = 40) -> list[Case]:
    """Histories and targets without any relation."""
    found = []
    for number in range(count):
        chosen = generator.permutation(items)
        size = int(generator.integers(0, 8))
        history = [(f"i{n:03}", float(generator.uniform(0, 400))) for n in chosen[:size]]
        targets = [f"i{n:03}" for n in chosen[size : size + int(generator.integers(1, 5))]]
        found.append(case(f"u{number}", history, targets, events=int(generator.integers(1, 200))))
    return found


def measurement(values: np.ndarray, *, old: np.ndarray | None = None, **changes: object) -> Measurement:
    """Every metric of every case is ``values``; what is guarded stands still unless it is named."""
    described: dict[str, object] = {
        "users": [f"u{n}" for n in range(len(values))],
        "values": PerCase(values, values, values),
        "coverage": 0.3,
        "long_tail": 0.2,
        "segments": {},
        "calibration": [CalibrationBin(0.1, 0.2, 10, 0.1), CalibrationBin(0.2, 0.6, 10, 0.3)],
        "threshold": 0.3,
        "precision": 0.2,
        "volume": 4.0,
        "old_users": [] if old is None else [f"u{n}" for n in range(len(old))],
        "old": None if old is None else PerCase(old, old, old),
    }
    return Measurement(**(described | changes))  # type: ignore[arg-type]
