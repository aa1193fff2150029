"""How an event changes a profile, and which items it excludes. Independent of models, vectors and the time of day."""

from __future__ import annotations

from math import inf, log2
from typing import Protocol

from streams.ranking.popularity import decay
from streams.ranking.request import Entry
from streams.ranking.rules import CODES, DISMISS, PURCHASE, RETURN, SEARCH, ProfileRules
from streams.serde.records import CleanEvent
from streams.stages.profile.profile import Profile

_ID_BYTES = 8


def apply_event(profile: Profile, event: CleanEvent, offset: int, rules: ProfileRules) -> bool:
    """Apply one event to the profile, in place. Returns False, without a change, if the event was already applied or has no effect.

    It was already applied if its offset is not after the last applied one, or its id is among the recent ones. The event must be
    complete: it has an item, or a query for a search. Raises ValueError if the event id is not hexadecimal.
    """
    code = CODES[event["event_type"]]
    if offset <= profile.applied_offset or not rules.concerns(code):
        return False
    if is_known_event(profile, event["event_id"]):
        return False
    note_event(profile, event["event_id"], offset, rules)
    time_ms = event["occurred_at"]
    weight = rules.history_weights[code]
    if code == PURCHASE and (item_id := event["item_id"]):
        profile.bought[item_id] = max(time_ms, profile.bought.pop(item_id, time_ms))
        _bound(profile.bought, rules.bought_size)
    if weight and code == SEARCH:
        _put(profile.queries, event["query"] or "", Entry(weight, time_ms, code), rules)
        if len(profile.queries) > rules.queries_max:
            del profile.queries[_least(profile.queries, rules)[1]]
    elif weight:
        _put(profile.items, event["item_id"] or "", Entry(weight, time_ms, code), rules)
    if len(profile.items) + len(profile.queries) > rules.history_size:
        _drop_least(profile, rules)
    return True


def is_known_event(profile: Profile, event_id: str) -> bool:
    """Whether the event is among the recent ones. Raises ValueError if the id is not hexadecimal."""
    return _holds(profile.event_ids, bytes.fromhex(event_id[: 2 * _ID_BYTES]))


def note_event(profile: Profile, event_id: str, offset: int, rules: ProfileRules) -> None:
    """The event is applied."""
    profile.applied_offset = offset
    profile.event_ids = (profile.event_ids + bytes.fromhex(event_id[: 2 * _ID_BYTES]))[-_ID_BYTES * rules.event_ids_size :]


def merge(old: Entry, new: Entry, rules: ProfileRules) -> Entry:
    """Two interactions with the same item, or two searches with the same query, as one element.

    Both are taken to the later of the two times. Where they agree, the stronger counts in full and the weaker by
    ``repeat_share``, up to ``weight_cap``: the tenth view says less than the first. Where they disagree, the later one is what
    the shopper thinks now: a return or a dismissal cancels what was before, and is cancelled by the next click.
    """
    if (old.weight > 0) != (new.weight > 0):
        return new if new.time_ms >= old.time_ms else old
    time_ms = max(old.time_ms, new.time_ms)
    old_weight = old.weight * decay(time_ms - old.time_ms, rules.half_life_ms)
    new_weight = new.weight * decay(time_ms - new.time_ms, rules.half_life_ms)
    strong, weak, event_type = old_weight, new_weight, old.event_type
    if abs(new_weight) >= abs(old_weight):
        strong, weak, event_type = new_weight, old_weight, new.event_type
    weight = strong + rules.repeat_share * weak if strong > 0 else strong
    return Entry(min(weight, rules.weight_cap), time_ms, event_type)


def is_first_regret(profile: Profile, item_id: str, code: int, was_bought: bool, rules: ProfileRules) -> bool:
    """Whether a dismissal, or a return of what was bought, is the shopper's first of the item; then it is remembered. However often she
    does it, she counts once."""
    bit = {DISMISS: 1, RETURN: 2}.get(code, 0)
    known = profile.regrets.get(item_id, 0)
    if profile.moved is not None and profile.moved.regrets.get(item_id, 0) & bit:
        return False
    if not bit or known & bit or (code == RETURN and not was_bought):
        return False
    profile.regrets.pop(item_id, None)
    profile.regrets[item_id] = known | bit
    _bound(profile.regrets, rules.bought_size)
    return True


class History(Protocol):
    """A profile, or one seen as a whole with what was linked to it."""

    @property
    def items(self) -> dict[str, Entry]: ...
    @property
    def bought(self) -> dict[str, int]: ...


def dismissed(history: History) -> list[str]:
    """Items whose last word was a dismissal."""
    return [item_id for item_id, entry in history.items.items() if entry.event_type == DISMISS]


def _put(entries: dict[str, Entry], ref: str, new: Entry, rules: ProfileRules) -> None:
    old = entries.get(ref)
    entries[ref] = new if old is None else merge(old, new, rules)


def _drop_least(profile: Profile, rules: ProfileRules) -> None:
    item, query = _least(profile.items, rules), _least(profile.queries, rules)
    if item[0] <= query[0]:
        del profile.items[item[1]]
    else:
        del profile.queries[query[1]]


def _least(entries: dict[str, Entry], rules: ProfileRules) -> tuple[float, str]:
    """The element that counts least, now and for ever."""
    return min(((strength(entry, rules), ref) for ref, entry in entries.items()), default=(inf, ""))


def strength(entry: Entry, rules: ProfileRules) -> float:
    """How much an element counts against others, now and for ever: log2 of |weight|, less its age in half-lives."""
    return log2(abs(entry.weight)) + entry.time_ms / rules.half_life_ms if entry.weight else -inf


def _bound(times: dict[str, int], size: int) -> None:
    while len(times) > size:
        del times[next(iter(times))]


def _holds(ids: bytes, wanted: bytes) -> bool:
    at = ids.find(wanted)
    while at >= 0 and at % _ID_BYTES:
        at = ids.find(wanted, at + 1)
    return at >= 0


def unwanted(history: History, item_id: str | None, time_ms: int, rules: ProfileRules) -> list[str]:
    """Items that this shopper should not see now: bought within the cooldown, dismissed, and the one that is being looked at."""
    since = time_ms - rules.bought_cooldown_ms
    items = [bought for bought, bought_ms in history.bought.items() if bought_ms > since]
    items += dismissed(history)
    if item_id is not None:
        items.append(item_id)
    return items


def recently_recommended(profile: Profile, time_ms: int, rules: ProfileRules) -> list[str]:
    """Items that were recommended to this shopper within the cooldown."""
    since = time_ms - rules.recommended_cooldown_ms
    shown = profile.recommended if profile.moved is None else [*profile.moved.recommended, *profile.recommended]
    return [item_id for shown_ms, items in shown if shown_ms > since for item_id in items]
