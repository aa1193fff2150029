"""Makes cases from training pairs. The targets of one visit are one case, judged with what was known before the visit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from streams.ranking.rules import CODES, DAY_MS, HISTORY_WEIGHTS
from streams.serde.records import TrainingPair
from streams.training.evaluation.cases import Case, Part

HOUR_MS = 3_600_000


def cases_of(
    pairs: Iterable[TrainingPair],
    *,
    since_ms: int = 0,
    window_ms: int = HOUR_MS,
    bought_cooldown_ms: float = 90.0 * DAY_MS,
    weights: Sequence[float] = HISTORY_WEIGHTS,
) -> list[Case]:
    """One case for each visit of a shopper that begins at or after ``since_ms``. Ordered by time, then user.

    - A visit is the pairs with a reward above 0 within ``window_ms`` of the first one.
    - Targets are the items of the visit that could have been recommended. Items bought within the cooldown, or dismissed before,
      are no targets, as far as pairs and histories show. A visit without a target gives no case.
    - Pairs from before ``since_ms`` only show what was bought or dismissed, and how active the shopper was.
    - The history is that of the visit's first pair, without events of the visit itself. Otherwise the second line of an order would
      be predicted from the first.
    """
    of_user: dict[str, list[TrainingPair]] = {}
    for pair in pairs:
        of_user.setdefault(pair["pseudonym"], []).append(pair)
    found: list[Case] = []
    for user, own in of_user.items():
        own.sort(key=lambda pair: pair["occurred_at"])
        past = iter(own)
        known = next(past, None)
        bought: dict[str, int] = {}
        dismissed: set[str] = set()
        events = 0
        for visit in _visits([pair for pair in own if pair["reward"] > 0], window_ms):
            at_ms = visit[0]["occurred_at"]
            while known is not None and known["occurred_at"] < at_ms:
                events += known["reward"] > 0
                if known["outcome"] == "purchase":
                    bought[known["item_id"]] = known["occurred_at"]
                if known["reward"] < 0:
                    dismissed.add(known["item_id"])
                elif known["reward"] > 0:  # only to be shown again takes no dismissal back
                    dismissed.discard(known["item_id"])
                known = next(past, None)
            if at_ms >= since_ms:
                case = _case(user, visit, bought, dismissed, events, at_ms - bought_cooldown_ms, weights)
                found += [case] if case.targets else []
    return sorted(found, key=lambda case: (case.at_ms, case.user))


def unexposed(cases: Iterable[Case], pairs: Iterable[TrainingPair], *, window_ms: int) -> list[Case]:
    """The cases without exposure. Recommended items are excluded for both models; the targets are the other items that the shopper
    turned to.

    A case without a target is left out. Reason: shoppers look at recommended items, whatever they are. To count them would favour
    the model that recommended them. ``window_ms`` is the maximum time from a recommendation to the pair that reports it. If nothing
    was recommended, the cases stay as they are.
    """
    shown: dict[str, list[tuple[int, str]]] = {}
    alone: dict[tuple[str, str], list[int]] = {}
    for pair in pairs:
        if pair["rank"] is not None:
            shown.setdefault(pair["pseudonym"], []).append((pair["occurred_at"], pair["item_id"]))
        elif pair["reward"] > 0:
            alone.setdefault((pair["pseudonym"], pair["item_id"]), []).append(pair["occurred_at"])
    for own in shown.values():
        own.sort()
    found = []
    for case in cases:
        until_ms = case.at_ms + HOUR_MS
        own = shown.get(case.user, [])
        known = {item for _, item in own[: bisect_right(own, until_ms + window_ms, key=lambda entry: entry[0])]}
        targets = frozenset(
            item for item in case.targets - known if any(case.at_ms <= at_ms <= until_ms for at_ms in alone.get((case.user, item), ()))
        )
        if targets:
            found.append(case._replace(targets=targets, excluded=case.excluded | known))
    return found


def _visits(pairs: Sequence[TrainingPair], window_ms: int) -> list[list[TrainingPair]]:
    visits: list[list[TrainingPair]] = []
    for pair in pairs:
        if not visits or pair["occurred_at"] - visits[-1][0]["occurred_at"] > window_ms:
            visits.append([])
        visits[-1].append(pair)
    return visits


def _case(
    user: str,
    visit: Sequence[TrainingPair],
    bought: dict[str, int],
    dismissed: set[str],
    events: int,
    cooldown_from_ms: float,
    weights: Sequence[float],
) -> Case:
    first = visit[0]
    wanted = {pair["item_id"] for pair in visit}
    history = [
        Part("item" if past["kind"] == "item" else "query", past["ref"], weights[CODES[past["event_type"]]], past["age_ms"])
        for past in first["history"]
        # What has no age happened in the same minute as the first target.
        if past["age_ms"] > 0 and weights[CODES[past["event_type"]]]
    ]
    closed = {item for item, at_ms in bought.items() if at_ms > cooldown_from_ms} | dismissed
    oldest_ms = first["occurred_at"] - cooldown_from_ms
    closed |= {p["ref"] for p in first["history"] if p["event_type"] == "purchase" and 0 < p["age_ms"] < oldest_ms}
    return Case(user, history, frozenset(wanted - closed), frozenset(closed), first["occurred_at"], max(events, len(history)))
