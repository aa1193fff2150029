"""Applies a batch's events to their shoppers' profiles, in offset order, and finds the events that trigger a recommendation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from streams.audit.actions import CONSENT as CONSENT_ACTION
from streams.audit.actions import ERASED, consent_details, erasure_details
from streams.models.hotswap.serving_model import Routing, ServingModel
from streams.privacy.consent import GATED, PERSONALIZATION, TRAINING
from streams.privacy.moves import Announcement
from streams.ranking.request import Request
from streams.ranking.rules import CODES, DISMISS, IMPRESSION, PURCHASE, RETURN, SEARCH, TRIGGERS, ProfileRules
from streams.serde.flags import SOON, TIME_WIDENED
from streams.serde.records import CONSENT, ERASE, IDENTIFY, MOVE, CleanEvent, ProfileLink, has_shopper
from streams.stages.profile.feature_log import is_logged
from streams.stages.profile.history import apply_event, is_first_regret, unwanted
from streams.stages.profile.influence import breadth, is_newcomer, popularity_weights
from streams.stages.profile.links import hand_over, whole_of
from streams.stages.profile.moves import ProfileMove, bought_of, counts_for_all, is_empty, leave
from streams.stages.profile.popularity_counter import PopularityTally
from streams.stages.profile.profile import IssuedRecommendation, Profile, unpack_issued
from streams.stages.profile.together_counter import TogetherTally
from streams.stages.profile.withdrawal import decided, is_held_back, without_item

Policy = Literal["behaviour", "search", "none"]
"""``none``: nothing is recommended; the candidates are logged, to know what shoppers turn to where nothing is shown."""

_NO_MOVES: Mapping[int, Announcement] = MappingProxyType({})


@dataclass(slots=True)
class Trigger:
    """An event that causes a recommendation or a log, and the profile as it stood right after it."""

    profile: Profile
    event: CleanEvent
    offset: int
    policy: Policy
    request: Request
    is_logged: bool = False
    """Whether the candidates' features are logged."""


@dataclass(slots=True)
class Order:
    """What a shopper wants, and what it does to her profile, for the audit."""

    offset: int
    action: str
    pseudonym: str
    details: dict[str, str]


@dataclass(slots=True)
class Triggered:
    """What the events of a batch caused."""

    changed: dict[str, Profile] = field(default_factory=dict)
    """By pseudonym."""
    rounds: list[list[Trigger]] = field(default_factory=list)
    """The n-th triggers of all shoppers: a shopper's second must know what her first recommended."""
    unprofiled: list[Trigger] = field(default_factory=list)
    """Of shoppers who allow no personalization and search for nothing: whatever is popular is good enough for their lists."""
    orders: list[Order] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    """Pseudonyms of which nothing is kept, but for what came after in the same batch."""
    erased_until: int = -1
    """Offset of the last request that a whole profile be erased; -1 where the batch has none."""
    emptied: set[str] = field(default_factory=set)
    """Pseudonyms of whom nothing that was kept before may be read any more, from no old copy either: they asked to be forgotten, as a
    whole or with an item, or allow no personalization any more."""
    debounced: int = 0
    """Events that would have asked for a list, had none been asked for a moment ago."""
    held_back: int = 0
    """Events whose shopper had withdrawn consent before they were passed on."""
    moves: list[ProfileMove] = field(default_factory=list)
    """What goes from old pseudonyms to new ones."""
    links: list[ProfileLink] = field(default_factory=list)
    """What anonymous shoppers hand over to users."""
    repeats: list[tuple[IssuedRecommendation, CleanEvent]] = field(default_factory=list)
    """Recommendations that were made before this event came again."""

    def groups(self, most: int) -> Iterator[list[list[Trigger]]]:
        """The rounds, for groups of shoppers that have at most ``most`` triggers together. A shopper with more triggers gets several
        groups, one after another.
        """
        if sum(map(len, self.rounds)) <= most:
            yield self.rounds
            return
        chains: dict[str, list[Trigger]] = {}
        for triggers in self.rounds:
            for trigger in triggers:
                chains.setdefault(trigger.event["pseudonym"], []).append(trigger)
        group: list[list[Trigger]] = []
        size = 0
        for chain in chains.values():
            for start in range(0, len(chain), most):
                part = chain[start : start + most]
                if size + len(part) > most:
                    yield _rounds(group)
                    group, size = [], 0
                group.append(part)
                size += len(part)
        yield _rounds(group)

    def queries(self) -> Iterable[str]:
        """All query texts whose vectors are needed."""
        for triggers in self.rounds:
            for trigger in triggers:
                yield from (text for text, _ in trigger.request.queries)
                if trigger.request.query is not None:
                    yield trigger.request.query


def _rounds(chains: list[list[Trigger]]) -> list[list[Trigger]]:
    return [[chain[n] for chain in chains if len(chain) > n] for n in range(max(map(len, chains), default=0))]


def find_triggers(
    events: Iterable[tuple[int, CleanEvent]],
    profiles: MutableMapping[str, Profile],
    tally: PopularityTally,
    together: TogetherTally,
    rules: ProfileRules,
    moves: Mapping[int, Announcement] = _NO_MOVES,
) -> Triggered:
    """Apply (offset, event) to the profiles, in place, and to both tallies. An identify event puts a new profile in an old one's place.
    ``moves``: by offset, what the events of the type ``move`` say, which have the old pseudonym here."""
    result = Triggered()
    counts: dict[str, int] = {}
    for offset, event in events:
        pseudonym = event["pseudonym"]
        if not has_shopper(event):
            if event["sealed_id"]:
                _ask(event, offset, result, rules)
            else:
                _count_only(event, offset, tally, rules)
            continue
        profile = profiles[pseudonym]
        if offset <= profile.applied_offset:
            result.repeats += [(unpack_issued(issued), event) for cause, issued in profile.issued if cause == offset]
            continue
        if event["event_type"] == CONSENT:
            result.orders.append(Order(offset, CONSENT_ACTION, pseudonym, consent_details(event["refused"], GATED)))
            if PERSONALIZATION in event["refused"]:
                result.emptied.add(pseudonym)
            result.changed[pseudonym] = profiles[pseudonym] = decided(profile, offset, event["refused"])
            continue
        if event["event_type"] == MOVE:
            left, sent = leave(profile, moves[offset], offset, rules)
            result.moves += sent
            if left is None and not is_empty(profile):
                profiles[pseudonym] = Profile(applied_offset=offset)
                result.changed.pop(pseudonym, None)
                result.erased.add(pseudonym)
                result.erased_until = offset
            elif left is not None:
                result.changed[pseudonym] = profiles[pseudonym] = left
            continue
        if event["event_type"] == ERASE:
            held = {"items": len(profile.items) + len(profile.linked), "queries": len(profile.queries)}
            details = erasure_details(event["request_id"], event["item_id"], **held)
            result.orders.append(Order(offset, ERASED, pseudonym, details))
            result.emptied.add(pseudonym)
            if event["item_id"] is None:
                profiles[pseudonym] = Profile(applied_offset=offset)
                result.changed.pop(pseudonym, None)
                result.erased.add(pseudonym)
                result.erased_until = offset
            elif profile != Profile(applied_offset=profile.applied_offset):  # nothing is begun for somebody who was never seen
                result.changed[pseudonym] = profiles[pseudonym] = without_item(profile, offset, event["item_id"])
            continue
        if is_held_back(profile):
            result.held_back += 1
            continue
        if event["event_type"] == IDENTIFY:
            handed = hand_over(profile, event, offset, rules)
            if handed is not None:
                # Another object: triggers before this event still hold the old one.
                result.changed[pseudonym] = profiles[pseudonym] = handed.profile
                result.links += [handed.link] if handed.link is not None else []
            continue
        code, time_ms, item_id = CODES[event["event_type"]], event["occurred_at"], event["item_id"]
        if code == IMPRESSION:
            # Nothing of the shopper's changes, so its offset alone says whether it is counted.
            if item_id is not None and rules.slate.counts_outcomes:
                tally.note(item_id, offset, event["event_id"], exposed=True)
            continue
        before_ms = bought_of(profile).get(item_id) if item_id is not None else None
        if not apply_event(profile, event, offset, rules):
            continue
        result.changed[pseudonym] = profile
        if item_id is not None and counts_for_all(profile):
            if rules.slate.lowers and is_first_regret(profile, item_id, code, before_ms is not None, rules):
                tally.note(item_id, offset, event["event_id"], dismissed=code == DISMISS, returned=code == RETURN)
            if code == PURCHASE:
                together.add(item_id, dict(bought_of(profile)), before_ms, time_ms, offset)
            if (weights := popularity_weights(profile, item_id, code, time_ms, rules)) is not None:
                bought = code == PURCHASE
                tally.add(
                    item_id,
                    weights,
                    time_ms,
                    offset,
                    bought=bought,
                    new_buyer=bought and before_ms is None,
                    is_newcomer=is_newcomer(profile),
                )
        policy = policy_of(code, time_ms, profile.triggered_at, rules, event["flags"])
        logged = TRAINING not in event["refused"] and TRAINING not in profile.refused and is_logged(event, rules.logged_share)
        if policy is None:
            result.debounced += rules.recommend and code in TRIGGERS
            if not (logged and rules.recommend and code in TRIGGERS):
                continue
            policy = "none"
        if policy == "behaviour":
            profile.triggered_at = max(profile.triggered_at, time_ms) if TIME_WIDENED in event["flags"] else time_ms
        number = counts.get(pseudonym, 0)
        counts[pseudonym] = number + 1
        if number == len(result.rounds):
            result.rounds.append([])
        result.rounds[number].append(Trigger(profile, event, offset, policy, request_of(profile, event, policy, rules), logged))
    return result


def _ask(event: CleanEvent, offset: int, result: Triggered, rules: ProfileRules) -> None:
    """A list for a shopper who allows no personalization: of an empty profile, which is not kept."""
    profile, code = Profile(), CODES[event["event_type"]]
    if not rules.recommend or code not in TRIGGERS:
        return
    if code == SEARCH:
        if not result.rounds:
            result.rounds.append([])
        result.rounds[0].append(Trigger(profile, event, offset, "search", request_of(profile, event, "search", rules)))
    else:
        result.unprofiled.append(Trigger(profile, event, offset, "behaviour", request_of(profile, event, "behaviour", rules)))


def _count_only(event: CleanEvent, offset: int, tally: PopularityTally, rules: ProfileRules) -> None:
    code, item_id = CODES[event["event_type"]], event["item_id"]
    # Nobody is a shopper of whom nothing else is known.
    if item_id is not None and (weight := breadth(1, rules.popularity_breadth) * rules.popularity_weights[code]):
        tally.add(item_id, (weight, weight, weight, weight), event["occurred_at"], offset, bought=code == PURCHASE, is_newcomer=True)


def request_of(profile: Profile, event: CleanEvent, policy: Policy, rules: ProfileRules) -> Request:
    """What is asked of the ranking after the event, which is in the profile."""
    query = event["query"] if policy == "search" else None
    history = whole_of(profile, rules)
    return Request(
        items=list(history.items),
        item_entries=list(history.items.values()),
        # The search itself is blended in by its own weight; as a part of the history it would count twice.
        queries=[(text, entry) for text, entry in history.queries.items() if text != query],
        query=query,
        excluded=unwanted(history, event["item_id"], event["occurred_at"], rules),
        at_ms=event["occurred_at"],
        seed=int(event["event_id"][:16], 16),
    )


def policy_of(event_type: int, time_ms: int, triggered_at: int, rules: ProfileRules, flags: Collection[str] = ()) -> Policy | None:
    """The policy of the recommendation that an event triggers, or None.

    - A search always triggers one.
    - Other behaviour triggers one per ``debounce_ms`` of event time after the last trigger (``triggered_at``), in any order of
      arrival.
    - An event a little earlier than the last trigger is late, and triggers nothing.
    - Where the event's time is widened, ingest has said whether that long has passed: the times do not tell.
    - An event earlier by ``rewind_ms`` or more belongs to a replay. A trigger in its future must not suppress it.
    """
    if not rules.recommend or event_type not in TRIGGERS:
        return None
    if event_type == SEARCH:
        return "search"
    if TIME_WIDENED in flags:
        return None if SOON in flags else "behaviour"
    since = time_ms - triggered_at
    return "behaviour" if since >= rules.debounce_ms or since <= -max(rules.rewind_ms, rules.debounce_ms) else None


def by_model(routing: Routing, triggered: Triggered) -> list[tuple[ServingModel, Triggered]]:
    """What must be recommended, by the model that does it. All of a shopper's triggers go to one. A model without a ranker logs nothing."""
    canary = routing.canary
    if canary is None:
        return [(routing.stable, triggered if routing.stable.ranker is not None else _answered(triggered))]
    models = {trigger.event["pseudonym"]: routing.of(trigger.event["pseudonym"]) for triggers in triggered.rounds for trigger in triggers}
    parts = []
    for model in (routing.stable, canary):
        own = Triggered(rounds=[[one for one in triggers if models[one.event["pseudonym"]] is model] for triggers in triggered.rounds])
        own = Triggered(rounds=[triggers for triggers in own.rounds if triggers]) if model.ranker is not None else _answered(own)
        if own.rounds:
            parts.append((model, own))
    return parts


def _answered(triggered: Triggered) -> Triggered:
    """Only what asks for an answer."""
    rounds = [[trigger for trigger in triggers if trigger.policy != "none"] for triggers in triggered.rounds]
    return Triggered(rounds=[triggers for triggers in rounds if triggers])
