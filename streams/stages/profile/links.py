"""From an anonymous shopper's history to a user's: what is handed over, how the user's profile takes it in, and the two seen as one.

What a link brings is kept apart from what the user did herself, as the strongest elements under one total order, each known by the link
that brought it. To take a link in is so a union: the same link twice, or links in another order, or between other events of the user,
give the same profile. Only where a history is looked at, elements of one item are merged, in the order of their times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from hashlib import blake2b
from itertools import chain
from math import isfinite
from typing import NamedTuple

from streams.errors import Reason, RecordError
from streams.ranking.request import Entry
from streams.ranking.rules import CODES, EVENT_TYPES, ProfileRules
from streams.serde.records import CleanEvent, LinkedEntry, ProfileLink
from streams.stages.profile.history import is_known_event, merge, note_event, strength
from streams.stages.profile.profile import Linked, Profile

_LINK_BYTES = 8


class Whole(NamedTuple):
    """A history with what was linked to it; the names are those of a profile."""

    items: dict[str, Entry]
    queries: dict[str, Entry]
    bought: dict[str, int]


class HandedOver(NamedTuple):
    """What an identify event leaves, and what it sends."""

    profile: Profile
    """Of the anonymous shopper from now on."""
    link: ProfileLink | None
    """None where there is nothing to hand over."""


def hand_over(profile: Profile, event: CleanEvent, offset: int, rules: ProfileRules) -> HandedOver | None:
    """None if the event came before. The given profile stays as it is: a recommendation of the same batch may be made of it.

    What remains says nothing of what was done: how far events are applied, so that none comes again, and that it was handed over, so that
    it counts no more in what all shoppers see. Raises ValueError if the event id is not hexadecimal.
    """
    if offset <= profile.applied_offset or is_known_event(profile, event["event_id"]):
        return None
    left = Profile(event_ids=profile.event_ids, was_handed_over=True)
    note_event(left, event["event_id"], offset, rules)
    since = event["occurred_at"] - rules.bought_cooldown_ms
    # Under former pseudonyms it was the same browser. What was linked to it is not: no browser is a user.
    whole = profile if profile.moved is None else whole_of(profile, rules)
    items, queries, all_bought = whole.items, whole.queries, whole.bought
    bought = {item_id: time_ms for item_id, time_ms in all_bought.items() if time_ms > since}
    if not (items or queries or bought):
        return HandedOver(left, None)
    return HandedOver(
        left,
        ProfileLink(
            link_id=blake2b(bytes.fromhex(event["event_id"]), digest_size=16, person=b"vs.link").hexdigest(),
            pseudonym=event["linked_to"] or "",
            linked_at=event["occurred_at"],
            history=[*_entries("item", items), *_entries("query", queries)],
            bought=bought,
        ),
    )


def join(profile: Profile, link: ProfileLink, rules: ProfileRules) -> bool:
    """Take a link in, in place; False if that changes nothing. Raises RecordError, without a change, for one that no profile
    stage wrote."""
    brought = _check(link)
    linked = strongest(chain(profile.linked, brought), rules)
    bought = latest(union_of_times(profile.linked_bought, link["bought"]), rules.bought_size)
    if linked == profile.linked and bought == profile.linked_bought:
        return False
    profile.linked, profile.linked_bought = linked, bought
    return True


def whole_of(profile: Profile, rules: ProfileRules) -> Profile | Whole:
    """The history to recommend by. Of a profile that nothing was linked to it is the profile itself."""
    moved = profile.moved
    if not profile.linked and not profile.linked_bought and moved is None:
        return profile
    items, queries = dict(profile.items), dict(profile.queries)
    elements: dict[tuple[bool, str], list[Entry]] = {}
    for one in chain(profile.linked, moved.linked if moved is not None else ()):
        elements.setdefault((one.is_query, one.ref), []).append(one.entry)
    for (is_query, ref), entries in elements.items():
        own = queries if is_query else items
        if ref in own:
            entries.append(own[ref])
        entries.sort(key=lambda entry: (entry.time_ms, entry.weight, entry.event_type))
        own[ref] = reduce(lambda old, new: merge(old, new, rules), entries)
    queries = _bounded(queries, rules.queries_max, rules)
    excess = len(items) + len(queries) - rules.history_size
    if excess > 0:
        of_items = [(strength(entry, rules), False, ref) for ref, entry in items.items()]
        for _, is_query, ref in sorted([*of_items, *((strength(entry, rules), True, ref) for ref, entry in queries.items())])[:excess]:
            del (queries if is_query else items)[ref]
    bought = union_of_times(profile.bought, profile.linked_bought)
    return Whole(items, queries, bought if moved is None else union_of_times(bought, moved.bought))


def _bounded(entries: dict[str, Entry], most: int, rules: ProfileRules) -> dict[str, Entry]:
    if len(entries) <= most:
        return entries
    kept = set(sorted(entries, key=lambda ref: (strength(entries[ref], rules), ref))[len(entries) - most :])
    return {ref: entry for ref, entry in entries.items() if ref in kept}


def strongest(elements: Iterable[Linked], rules: ProfileRules) -> list[Linked]:
    """The ``history_size`` strongest, weakest first; of one link and item the stronger. One order decides both, which is why this of a
    union is the same whatever was left out of its parts before."""
    best: dict[tuple[bytes, bool, str], Linked] = {}
    for one in sorted(elements, key=lambda one: _rank(one, rules)):
        place = (one.link, one.is_query, one.ref)
        best.pop(place, None)  # so that the stronger one also takes the later place
        best[place] = one
    return list(best.values())[-rules.history_size :]


def _rank(one: Linked, rules: ProfileRules) -> tuple[float, int, float, int, bool, str, bytes]:
    entry = one.entry
    return (strength(entry, rules), entry.time_ms, entry.weight, entry.event_type, one.is_query, one.ref, one.link)


def union_of_times(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Of each item the later time."""
    return {**first, **{item_id: max(time_ms, first.get(item_id, time_ms)) for item_id, time_ms in second.items()}}


def latest(times: Mapping[str, int], most: int) -> dict[str, int]:
    """The latest, in the order of time."""
    return dict(sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[-most:])


def _entries(kind: str, entries: Mapping[str, Entry]) -> list[LinkedEntry]:
    return [
        LinkedEntry(kind=kind, ref=ref, weight=entry.weight, last_at=entry.time_ms, event_type=EVENT_TYPES[entry.event_type])
        for ref, entry in entries.items()
    ]


def _check(link: ProfileLink) -> list[Linked]:
    try:
        name = bytes.fromhex(link["link_id"])[:_LINK_BYTES]
    except ValueError:
        name = b""
    found = [
        Linked(name, one["kind"] == "query", one["ref"], Entry(one["weight"], one["last_at"], CODES.get(one["event_type"], -1)))
        for one in link["history"]
    ]
    is_wrong = any(not one.ref or not isfinite(one.entry.weight) or one.entry.event_type < 0 for one in found)
    if len(name) < _LINK_BYTES or is_wrong or any(one["kind"] not in ("item", "query") for one in link["history"]):
        raise RecordError(Reason.UNDECODABLE, "the link is none that a profile stage writes")
    return found
