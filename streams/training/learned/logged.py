"""Logs of features joined with what became of the candidates: lists to learn from, and answers to estimate from.

What became of them is in the training pairs, which the trainer has anyway: an item that was recommended has a pair that names the
recommendation unless nobody reacted to it or saw it, and what the shopper found by herself has a pair of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.features import FEATURES, Levels, schema
from streams.ranking.learned.model import Ranker
from streams.serde.records import FeatureLog, TrainingPair
from streams.training.evaluation.off_policy import OffPolicy, Shown, estimate
from streams.training.learned.lists import Lists
from streams.training.learned.past import GRADES
from streams.training.learned.past_events import told_by_histories

MOST_OF_SHOPPER = 20
"""Logs of a shopper that count, her newest: nobody draws a ranker, or an estimate, to where she clicks."""
REFUSED = -1
"""The label of what was dismissed, or bought and returned."""


REFUSED_TIMES = 3


class Joined(NamedTuple):
    """One log and what became of its candidates."""

    log: FeatureLog
    levels: Levels
    """uint8 [candidates, features]."""
    labels: npt.NDArray[np.int8]
    """[candidates]: grade of what the shopper took, 0 for the rest, ``REFUSED`` for what she sent away."""
    rewards: npt.NDArray[np.float64]
    """[shown]: of the outcomes of what was recommended."""


class Joining(NamedTuple):
    """What could be joined, and how many logs could not, by reason."""

    joined: list[Joined]
    left_out: Counter[str]
    window_ms: int
    """After an event, in which reactions count."""

    def between(self, from_ms: int, to_ms: int) -> list[Joined]:
        """Those whose events, milliseconds, are in a time."""
        return [one for one in self.joined if from_ms <= one.log["created_at"] < to_ms]

    def __str__(self) -> str:
        rest = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"{len(self.joined)} logs of features used" + (f", left out: {rest}" if rest else "")


def join(
    logs: Sequence[FeatureLog], pairs: Sequence[TrainingPair], version: str, *, window_ms: int, most_of_shopper: int = MOST_OF_SHOPPER
) -> Joining:
    """The logs of the model ``version``, of the table of features that this code computes, whose windows are over: ``window_ms`` after
    the event."""
    outcomes: dict[str, dict[str, TrainingPair]] = defaultdict(dict)
    own: dict[str, list[TrainingPair]] = defaultdict(list)
    returned = {(told.shopper, told.ref): told.at_ms for told in sorted(told_by_histories(pairs)) if told.did == "return"}
    end_ms = 0
    for pair in sorted(pairs, key=lambda pair: pair["occurred_at"]):
        end_ms = pair["occurred_at"]
        if pair["recommendation_id"] is not None:
            outcomes[pair["recommendation_id"]][pair["item_id"]] = pair
        elif pair["reward"] > 0:
            own[pair["pseudonym"]].append(pair)
    found = Joining([], Counter(), window_ms)
    counts: Counter[str] = Counter()
    for log in sorted(logs, key=lambda log: (-log["created_at"], log["log_id"])):
        reason = _against(log, version, end_ms - window_ms, outcomes)
        if reason is None and counts[log["pseudonym"]] >= most_of_shopper:
            reason = "beyond a shopper's share"
        if reason is not None:
            found.left_out[reason] += 1
            continue
        counts[log["pseudonym"]] += 1
        became = outcomes.get(log["recommendation_id"] or "", {})
        found.joined.append(_joined(log, became, own.get(log["pseudonym"], []), returned, window_ms))
    found.joined.reverse()
    return found


def _against(log: FeatureLog, version: str, closed_ms: int, outcomes: Mapping[str, Mapping[str, TrainingPair]]) -> str | None:
    """Why a log can't be used."""
    count = len(log["items"])
    if log["features"] != schema():
        return "of another table of features"
    if log["model_version"] != version:
        return "of another model"
    shown_twice = len(set(log["shown"])) != len(log["shown"])
    if len(log["levels"]) != count * len(FEATURES) or not count or shown_twice or any(not 0 <= place < count for place in log["shown"]):
        return "malformed"
    if log["created_at"] > closed_ms:
        return "not settled yet"
    shown = {log["items"][place]: rank for rank, place in enumerate(log["shown"])}
    # After a crash another worker may have answered differently; its answer is the one that was published, this log is not its.
    if any(shown.get(item) != pair["rank"] for item, pair in outcomes.get(log["recommendation_id"] or "", {}).items()):
        return "of an answer that was not published"
    return None


def _joined(
    log: FeatureLog,
    became: Mapping[str, TrainingPair],
    own: Sequence[TrainingPair],
    returned: Mapping[tuple[str, str], int],
    window_ms: int,
) -> Joined:
    places = {item: place for place, item in enumerate(log["items"])}
    labels = np.zeros(len(places), np.int8)
    first = bisect_right(own, log["created_at"], key=lambda pair: pair["occurred_at"])
    end = bisect_right(own, log["created_at"] + window_ms, key=lambda pair: pair["occurred_at"])
    for pair in (*own[first:end], *became.values()):
        place = places.get(pair["item_id"])
        if place is None:
            continue
        if pair["outcome"] == "dismiss" or returned.get((log["pseudonym"], pair["item_id"]), -1) >= pair["occurred_at"]:
            labels[place] = REFUSED
        elif labels[place] != REFUSED:
            labels[place] = max(labels[place], GRADES.get(pair["outcome"], 0))
    shown = [log["items"][place] for place in log["shown"]]
    rewards = np.array([became[item]["reward"] if item in became else 0.0 for item in shown])
    return Joined(log, np.frombuffer(log["levels"], np.uint8).reshape(len(places), len(FEATURES)), labels, rewards)


def logged_lists(joined: Sequence[Joined], propensity: Mapping[int, float], *, window_ms: int) -> Lists | None:
    """The logs in which something was taken, as lists; None if there are none.

    - ``propensity``: by rank, how likely the place is seen. A reaction at a place that is seldom looked at stands for many: such a list is
      there as often as the inverse says (Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback", WSDM 2017).
    - What was refused is in its list ``REFUSED_TIMES``: a model has to rank it below what was taken so many times over.
    """
    useful = [one for one in joined if (one.labels > 0).any()]
    if not useful:
        return None
    times = [_times(one, propensity) for one in useful]
    rows = [np.repeat(np.arange(len(one.labels)), np.where(one.labels == REFUSED, REFUSED_TIMES, 1)) for one in useful]
    each = [n for n, count in enumerate(times) for _ in range(count)]
    return Lists(
        levels=np.concatenate([useful[n].levels[rows[n]] for n in each]),
        labels=np.concatenate([np.maximum(useful[n].labels[rows[n]], 0) for n in each]),
        sizes=np.array([len(rows[n]) for n in each], np.int64),
        at_ms=np.array([useful[n].log["created_at"] + window_ms for n in each], np.int64),
        wanted=np.array([int((useful[n].labels > 0).sum()) for n in each], np.int64),
        summed=np.zeros(sum(len(rows[n]) for n in each), np.float32),
        found={},
    )


def _times(one: Joined, propensity: Mapping[int, float]) -> int:
    """How often the list is there, at least once: the mean of the inverses, weighted by what was gained. Rounded up or down by the log's
    id, so that it is right on average."""
    gains = np.where(one.labels > 0, 2.0 ** np.maximum(one.labels, 0) - 1.0, 0.0)
    inverse = np.ones(len(gains))
    for rank, place in enumerate(one.log["shown"]):
        inverse[place] = 1.0 / propensity.get(rank, 1.0)
    return int(float((gains * inverse).sum() / gains.sum()) + int(one.log["log_id"][:8], 16) / 2.0**32)


def would_have_earned(joined: Sequence[Joined], ranker: Ranker, propensity: Mapping[int, float]) -> OffPolicy:
    """What the answers would have earned in the order of this ranker's scores, with as many items as were recommended."""
    answered = [one for one in joined if one.log["shown"]]
    answers, rewards, seen, candidate, totals = [], [], [], [], []
    for number, one in enumerate(answered):
        shown = one.log["shown"]
        exposure = np.array([propensity.get(rank, 1.0) for rank in range(len(shown))])
        # Equal scores by item id, as answers have them.
        order = sorted(range(len(one.labels)), key=_by_score(ranker.scores(one.levels).tolist(), one.log["items"]))[: len(shown)]
        wanted = dict(zip(order, exposure.tolist(), strict=True))
        answers += [number] * len(shown)
        rewards += one.rewards.tolist()
        seen += exposure.tolist()
        candidate += [wanted.get(place, 0.0) for place in shown]
        totals.append(float(exposure.sum()))
    exposures = np.array(seen)
    return estimate(
        Shown(
            np.array(answers, np.int64),
            np.array(rewards),
            exposures,
            exposures,
            np.array(candidate),
            np.array(totals),
            [one.log["pseudonym"] for one in answered],
        )
    )


def _by_score(scores: Sequence[float], items: Sequence[str]) -> Callable[[int], tuple[float, str]]:
    return lambda place: (-scores[place], items[place])
