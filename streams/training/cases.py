"""Training pairs as cases, split by time: for training, for fitting, for judging, and for detecting forgetting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, log2
from typing import NamedTuple

import numpy as np

from streams.ranking.request import Entry
from streams.ranking.rules import VIEW, ProfileRules
from streams.serde.records import TrainingPair
from streams.stages.profile.history import merge
from streams.training.evaluation.cases import Case, Part
from streams.training.evaluation.pairs import HOUR_MS, cases_of, unexposed
from streams.training.time_slices import Cuts, OldSlice, cuts

_OLD_SHARE_OF_TIME = 0.2


class SplitRule(NamedTuple):
    """Shares of the pairs, by time. ``profile``: the rules by which a history is kept and bought items are excluded as targets."""

    profile: ProfileRules
    validation: float = 0.1
    test: float = 0.1
    attribution_ms: int = 0
    """Maximum time from a recommendation to the pair that reports it, milliseconds."""


class Split(NamedTuple):
    """The cases ordered by time, each in one slice."""

    cuts: Cuts
    train: list[Case]
    validation: list[Case]
    test: list[Case]
    old: list[Case]
    alone: bool = False
    """Whether the targets for validating and judging were found without a recommendation."""


def without_unused_histories(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """One shopper's pairs ordered by time, without the histories that no case uses. A case uses only the history of its visit's first
    pair. With all histories, a hundred thousand pairs would take gigabytes.
    """
    ordered = sorted(pairs, key=lambda pair: pair["occurred_at"])
    begun: int | None = None
    found: list[TrainingPair] = []
    for pair in ordered:
        first = pair["reward"] > 0 and (begun is None or pair["occurred_at"] - begun > HOUR_MS)
        if first:
            begun = pair["occurred_at"]
        found.append(pair if first or not pair["history"] else {**pair, "history": []})
    return found


def old_slice(pairs: Sequence[TrainingPair]) -> OldSlice:
    """The slice that shows forgetting: a tenth of the shoppers, in the oldest fifth of the pairs. It is chosen once and kept. Raises
    ValueError if there are no pairs.
    """
    times = np.array([pair["occurred_at"] for pair in pairs], np.int64)
    if not len(times):
        raise ValueError("no pairs to choose an old slice from")
    return OldSlice(int(times.min()), int(np.quantile(times, _OLD_SHARE_OF_TIME)) + 1)


def split_by_time(pairs: Sequence[TrainingPair], rule: SplitRule, old: OldSlice | None = None) -> Split:
    """Raises ValueError if there are no pairs."""
    where = cuts(np.array([pair["occurred_at"] for pair in pairs], np.int64), validation=rule.validation, test=rule.test)
    found = Split(where, [], [], [], [])
    weights = rule.profile.history_weights
    for case in cases_of(pairs, bought_cooldown_ms=rule.profile.bought_cooldown_ms, weights=weights):
        getattr(found, where.slice_of(case.user, case.at_ms, old)).append(folded(case, rule.profile))
    return found


def without_exposure(split: Split, pairs: Sequence[TrainingPair], rule: SplitRule, *, min_cases: int, min_users: int) -> Split:
    """The same cases without exposure in validation, test and old slice (see ``unexposed``), if enough cases are left."""
    judged = [unexposed(cases, pairs, window_ms=rule.attribution_ms) for cases in split[2:5]]
    test = judged[1]
    if len(test) < min_cases or len({case.user for case in test}) < min_users:
        return split
    return split._replace(validation=judged[0], test=test, old=judged[2], alone=True)


def folded(case: Case, rules: ProfileRules) -> Case:
    """The case with its history as a profile keeps it: an element for each item and query, the ``history_size`` that count most."""
    entries: dict[tuple[str, str], Entry] = {}
    for part in case.history:
        new = Entry(part.weight, -part.age_ms, VIEW)
        old = entries.get((part.kind, part.ref))
        entries[part.kind, part.ref] = new if old is None else merge(old, new, rules)
    most = sorted(entries.items(), key=lambda kept: _strength(kept[1], rules), reverse=True)[: rules.history_size]
    parts = [Part("item" if kind == "item" else "query", ref, entry.weight, -entry.time_ms) for (kind, ref), entry in most]
    return case._replace(history=parts)


def _strength(entry: Entry, rules: ProfileRules) -> float:
    return log2(abs(entry.weight)) + entry.time_ms / rules.half_life_ms if entry.weight else -inf


class Seen(NamedTuple):
    """Of the items recommended at one place."""

    recommended: int
    seen: int
    """With an impression or any reaction."""


def propensities(by_rank: Mapping[int, Seen], *, smoothing: float = 20.0, least: float = 0.1) -> dict[int, float]:
    """By rank (from 0), relative to the place that is seen most, from ``least`` to 1.

    Each share is drawn towards that of all places, as if ``smoothing`` items of it had been there. Exposure propensities after
    Schnabel et al., "Recommendations as Treatments" (ICML 2016); the clipping bounds the variance of their inverse.
    """
    recommended = sum(of.recommended for of in by_rank.values())
    if not recommended:
        return {}
    overall = sum(of.seen for of in by_rank.values()) / recommended
    shares = {rank: (of.seen + smoothing * overall) / (of.recommended + smoothing) for rank, of in by_rank.items()}
    most = max(shares.values())
    return {rank: min(1.0, max(least, share / most)) if most else 1.0 for rank, share in shares.items()}
