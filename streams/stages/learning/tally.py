"""The counts of one partition, each record counted once, and the sum over all partitions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from streams.serde.records import Feedback, Recommendation, TallyBucket, TrainingTally
from streams.stages.learning.drift import coarsen, histogram
from streams.stages.learning.trigger import Shown

SCORE_BINS = 100
SCORE_MOST = 3.0
BUCKETS_KEPT = 64
"""A tally is written whole: a bound on its size. With windows of a day it goes back sixteen days."""
NO_REACTION = frozenset({"shown", "ignored"})

_EDGES: npt.NDArray[np.float64] = np.arange(1, SCORE_BINS, dtype=np.float64) * (SCORE_MOST / SCORE_BINS)


class Windows(NamedTuple):
    """How the serving model did at first and how it does now."""

    reference_scores: Sequence[int] = ()
    recent_scores: Sequence[int] = ()
    reference_shown: Shown = Shown(0, 0)
    recent_shown: Shown = Shown(0, 0)


def empty_tally(partition: int) -> TrainingTally:
    """Nothing counted yet."""
    return TrainingTally(partition=partition, pairs=0, pairs_offset=-1, feedback_offset=-1, recommendations_offset=-1, buckets=[])


def position(tally: TrainingTally) -> int:
    """How many records have gone by: of two tallies of a partition, the one with more is the later."""
    return 3 + tally["pairs_offset"] + tally["feedback_offset"] + tally["recommendations_offset"]


def add_feedback(tally: TrainingTally, feedback: Iterable[Feedback], bucket_ms: int) -> None:
    """Count outcomes, by the recommendation's model and time."""
    buckets = _Buckets(tally, bucket_ms)
    for value in feedback:
        bucket = buckets.of(value["model_version"], value["created_at"])
        bucket["items"] += 1
        bucket["ignored"] += value["outcome"] in NO_REACTION
    buckets.store()


def add_recommendations(tally: TrainingTally, recommendations: Iterable[Recommendation], bucket_ms: int) -> None:
    """Count the recommended items' scores."""
    buckets = _Buckets(tally, bucket_ms)
    scores: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for value in recommendations:
        bucket = buckets.of(value["model_version"], value["created_at"])
        scores[(bucket["model_version"], bucket["start"])] += [item["score"] for item in value["items"]]
    for (version, start), own in scores.items():
        bucket = buckets.of(version, start)
        bucket["scores"] = _added([bucket["scores"], histogram(np.array(own, np.float64), _EDGES)])
    buckets.store()


def newest_ms(tallies: Iterable[TrainingTally]) -> int:
    """Where the newest bucket begins, event time; 0 if there is none."""
    return max((bucket["start"] for tally in tallies for bucket in tally["buckets"]), default=0)


def windows(tallies: Sequence[TrainingTally], since_ms: int, window_ms: int, bucket_ms: int) -> Windows:
    """For the model with the most recent recommendations: its first window of event time at or after ``since_ms``, and its newest
    window, as far as it does not overlap. Scores are given by the parts that the first window's scores are divided into.
    """
    newest = newest_ms(tallies)
    recent_from = newest + bucket_ms - window_ms
    buckets = [bucket for tally in tallies for bucket in tally["buckets"]]
    volume: Counter[str] = Counter()
    for bucket in buckets:
        if bucket["start"] >= recent_from:
            volume[bucket["model_version"]] += bucket["items"] + sum(bucket["scores"])
    serving = max(sorted(volume), key=volume.__getitem__, default=None)
    own = [bucket for bucket in buckets if bucket["model_version"] == serving and bucket["start"] >= since_ms]
    if not own:
        return Windows()
    reference_until = min(bucket["start"] for bucket in own) + window_ms
    reference = [bucket for bucket in own if bucket["start"] < reference_until]
    recent = [bucket for bucket in own if bucket["start"] >= max(reference_until, recent_from)]
    before, lately = (_added([bucket["scores"] for bucket in part]) for part in (reference, recent))
    return Windows(*coarsen(before, lately), _shown(reference), _shown(recent))


class _Buckets:
    """A tally's buckets by model and time, while a batch is counted."""

    def __init__(self, tally: TrainingTally, bucket_ms: int) -> None:
        self._tally = tally
        self._bucket_ms = bucket_ms
        self._known = {(bucket["start"], bucket["model_version"]): bucket for bucket in tally["buckets"]}

    def of(self, version: str, at_ms: int) -> TallyBucket:
        start = at_ms - at_ms % self._bucket_ms
        bucket = self._known.get((start, version))
        if bucket is None:
            bucket = TallyBucket(model_version=version, start=start, items=0, ignored=0, scores=[0] * SCORE_BINS)
            self._known[(start, version)] = bucket
        return bucket

    def store(self) -> None:
        self._tally["buckets"] = [bucket for _, bucket in sorted(self._known.items(), key=lambda entry: entry[0])][-BUCKETS_KEPT:]


def _added(histograms: Sequence[Sequence[int]]) -> list[int]:
    if not histograms:
        return [0] * SCORE_BINS
    return cast(list[int], np.sum(np.array(histograms, np.int64), axis=0).tolist())


def _shown(buckets: Iterable[TallyBucket]) -> Shown:
    items = ignored = 0
    for bucket in buckets:
        items, ignored = items + bucket["items"], ignored + bucket["ignored"]
    return Shown(items, ignored)
