"""Converts cases and texts to the training set of ``encoders.finetune``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from streams.serde.records import TrainingPair
from streams.training.evaluation.cases import Case
from streams.training.evaluation.pairs import HOUR_MS

if TYPE_CHECKING:
    from encoders.finetune.examples import TrainingSet

_NEGATIVES = 8
_NEAR_MS = 24 * HOUR_MS
_WEIGHTS = {"purchase": 1.0, "cart": 0.7, "click": 0.4, "view": 0.4}
_LEAST_WEIGHT = 0.4
_LEAST_PART = 1e-4
"""Of a history: what has faded to less is left out."""


def training_set(
    cases: Sequence[Case],
    pairs: Iterable[TrainingPair],
    texts: Mapping[str, str],
    *,
    half_life_ms: float,
    propensity: Mapping[int, float],
) -> TrainingSet:
    """One example for each target of each case: the case's history, weighted as it is served, and the target.

    - ``texts``: the text of every item of the catalogue. The text of a query is the query itself.
    - Targets and history entries that the catalogue no longer has are left out. So is an example without history.
    - The outcome decides the weight. The rank at which the item was shown decides the propensity (``propensity`` by rank; 1 if the
      shopper found the item alone).
    - Negatives are the items that were shown to the shopper within a day and not taken, or were dismissed.
    """
    from encoders.finetune.examples import Example, TrainingSet

    numbers = {item: place for place, item in enumerate(texts)}
    all_texts = list(texts.values())
    queries: dict[str, int] = {}
    outcomes, refused = _by_user(pairs)
    users: dict[str, int] = {}
    examples: list[Example] = []
    for case in sorted(cases, key=lambda case: case.at_ms):
        history: dict[int, float] = {}
        for part in case.history:
            number = numbers.get(part.ref) if part.kind == "item" else queries.setdefault(part.ref, len(all_texts) + len(queries))
            weight = part.weight * 2.0 ** (-part.age_ms / half_life_ms)
            if number is not None and abs(weight) >= _LEAST_PART:
                history[number] = history.get(number, 0.0) + weight
        if not history:
            continue
        user = users.setdefault(case.user, len(users))
        negatives = _near(refused.get(case.user, []), case, numbers)
        wanted = sorted(case.targets & numbers.keys())
        # A basket of a hundred lines is stronger evidence than one of a single line, but not a hundred times as strong.
        share = sqrt(max(1, len(wanted)))
        for target in wanted:
            pair = _pair_of(outcomes.get((case.user, target), []), case.at_ms)
            examples.append(
                Example(
                    user=user,
                    history=tuple(history),
                    history_weights=tuple(history.values()),
                    target=numbers[target],
                    weight=(_LEAST_WEIGHT if pair is None else _WEIGHTS.get(pair["outcome"], _LEAST_WEIGHT)) / share,
                    propensity=1.0 if pair is None or pair["rank"] is None else propensity.get(pair["rank"], 1.0),
                    at_ms=case.at_ms,
                    negatives=negatives,
                )
            )
    all_texts += queries
    counts = np.bincount(np.array([e.target for e in examples], np.int64), minlength=len(all_texts))
    return TrainingSet(all_texts, counts, examples, np.arange(len(all_texts)) < len(numbers))


def _by_user(pairs: Iterable[TrainingPair]) -> tuple[dict[tuple[str, str], list[TrainingPair]], dict[str, list[TrainingPair]]]:
    """Positive pairs by shopper and item, and the others by shopper; in order of time."""
    taken: dict[tuple[str, str], list[TrainingPair]] = {}
    refused: dict[str, list[TrainingPair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair["occurred_at"]):
        if pair["reward"] > 0:
            taken.setdefault((pair["pseudonym"], pair["item_id"]), []).append(pair)
        else:
            refused.setdefault(pair["pseudonym"], []).append(pair)
    return taken, refused


def _pair_of(pairs: Sequence[TrainingPair], at_ms: int) -> TrainingPair | None:
    """The strongest within the visit that begins then."""
    first = bisect_left(pairs, at_ms, key=lambda pair: pair["occurred_at"])
    own = [pair for pair in pairs[first:] if pair["occurred_at"] <= at_ms + HOUR_MS]
    return max(own, key=lambda pair: pair["reward"], default=None)


def _near(refused: Sequence[TrainingPair], case: Case, numbers: Mapping[str, int]) -> tuple[int, ...]:
    first = bisect_left(refused, case.at_ms - _NEAR_MS, key=lambda pair: pair["occurred_at"])
    near = [pair for pair in refused[first:] if pair["occurred_at"] <= case.at_ms + _NEAR_MS and pair["item_id"] not in case.targets]
    return tuple(dict.fromkeys(numbers[pair["item_id"]] for pair in near[-_NEGATIVES:] if pair["item_id"] in numbers))
