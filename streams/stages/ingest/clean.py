"""Turns one raw event into one clean event. Defines the order of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from streams.engine.records import SourceRecord
from streams.errors import Reason, RecordError
from streams.privacy.consent import PERSONALIZATION, TRAINING
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.flags import UNPROFILED
from streams.serde.records import NOBODY, CleanEvent
from streams.stages import identifiers, money
from streams.stages.ingest import region, times
from streams.stages.ingest.bare_event import bare
from streams.stages.ingest.identities import Identities, Identity
from streams.stages.ingest.item_ids import ItemIds
from streams.stages.ingest.own_ids import names_own, own_words, without_own
from streams.stages.ingest.remembered import Remembered
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.throttle import is_automated_agent

DEFAULT_CAP = 1000

MAX_POSITION = 10_000

ASKS = frozenset({"view", "click", "search", "cart", "purchase", "wishlist"})
"""Types after which a list may be wanted, also by a shopper who allows no personalization."""
_WITH_QUANTITY = frozenset({"cart", "purchase", "return"})


class Cleaned(NamedTuple):
    """A clean event, and what the stage needs beside it."""

    event: CleanEvent
    key: bytes
    occurred_ms: int
    """The exact time, which goes no further."""
    identity: Identity
    """Whose event it is, which goes no further where the shopper allows no personalization."""
    former_id: str | None = None
    """The event's id under the old key, while the key is rotated and the producer gave it one."""
    user: Identity | None = None
    """Of ``identify``: who the anonymous shopper is."""


class EventCleaner:
    """Applies the rules that look at one event alone."""

    def __init__(
        self,
        rules: IngestRules,
        identities: Identities,
        pseudonymizer: Pseudonymizer,
        refused: Callable[[str, str], Sequence[str]] = lambda pseudonym, former: (),
        former: Pseudonymizer | None = None,
    ) -> None:
        """``refused``: the purposes that the shopper with a pseudonym, and a former one, does not allow. ``former``: under the old key,
        while the key is rotated."""
        self._former = former
        self._rules = rules
        self._refused = refused
        self._identities = identities
        self._hashes = pseudonymizer
        self._automated = Remembered(is_automated_agent, entries=2_000, characters=512)
        self._items = Remembered(ItemIds(rules.item_pattern), entries=50_000, characters=64)
        self._countries = Remembered(region.country, entries=2_000, characters=64)
        self._own_words = Remembered(own_words, entries=20_000, characters=64)

    def clean(self, raw: Mapping[str, Any], record: SourceRecord, now_ms: int, line: int = 0) -> Cleaned:
        """The clean event of a decoded one, the given line of its record. Raises RecordError, which names the field, never its value."""
        rules = self._rules
        flags: list[str] = []
        kind = identifiers.event_type(raw["event_type"])
        agent = raw["user_agent"]
        if agent and self._automated[agent]:
            raise RecordError(Reason.AUTOMATED, "the user agent belongs to a robot or a script")
        if kind == identifiers.IDENTIFY:
            return self._identify(raw, record, now_ms, line)
        identity: Identity | None
        try:
            identity = self._identities.of(raw["user_id"], raw["anonymous_id"])
        except RecordError as error:
            if error.reason is not Reason.NOBODY or not rules.counts_nobody:
                raise
            identity = None
        words = identity.words if identity is not None else ()
        for own in (raw["session_id"], raw["anonymous_id"]):
            if own:
                words += self._own_words[own]
        query: str | None = None
        item: str | None = None
        if kind == "search":
            query, scrubbed = identifiers.query(raw["query"], rules.scrub_off)
            query, has_own = without_own(query, words)
            if scrubbed or has_own:
                flags.append("query_scrubbed")
        else:
            item = self._items[raw["item_id"] or ""]
            if words and names_own(item, words):
                raise RecordError(Reason.BAD_ITEM, "item_id holds the event's own user, session or anonymous id")
        occurred_ms = self._time(raw["occurred_at"], record.timestamp, now_ms, flags)
        units = 1
        if kind in _WITH_QUANTITY:
            units, capped = quantity(raw["quantity"], rules.quantity_cap, is_return=kind == "return")
            if capped:
                flags.append("quantity_capped")
        price, code = raw["price"], raw["currency"]
        band: int | None = None
        if price is not None:
            band = money.price_band(price)
            code = money.currency(code, rules.default_currency)
        elif code is not None:
            code = money.currency(code, rules.default_currency)
        country, place = rules.default_region, raw["region"]
        if place and not place.isspace():
            country = self._countries[place]
            if country is None:
                flags.append("region_unknown")
        position = raw["position"]
        own_id = identifiers.opaque_id(raw["event_id"])
        session = identifiers.opaque_id(raw["session_id"])
        hashes = self._hashes
        user = identity.user_id if identity is not None else ""
        if own_id is not None:
            event_id = hashes.event_id(user, own_id)
        else:
            event_id = hashes.position_id(record.topic, record.partition, record.offset, line)
        if identity is None:
            # A pseudonym of its own for each event, so that strangers do not gather under one.
            flags.append("nobody")
            pseudonym = NOBODY + event_id
            identity = Identity(user, pseudonym, pseudonym.encode(), b"", ())
            session = None
        event: CleanEvent = {
            "event_id": event_id,
            "pseudonym": identity.pseudonym,
            "sealed_id": identity.sealed_id,
            "event_type": kind,
            "occurred_at": times.floor_to(occurred_ms, rules.time_bucket_ms),
            "item_id": item,
            "query": query,
            "quantity": units,
            "price_band": band,
            "currency": code,
            "country": country,
            # Under a new pseudonym it would name a list that was made for the old one.
            "recommendation_id": None if self._former is not None else identifiers.recommendation_id(raw["recommendation_id"]),
            "position": position if position is not None and 0 <= position <= MAX_POSITION else None,
            "session": hashes.session(user, session) if session is not None else None,
            "flags": flags,
            "linked_to": None,
            "refused": [],
            "request_id": None,
            "move": None,
        }
        if identity.sealed_id and (refused := self._refused(identity.pseudonym, identity.former)):
            event["refused"] = list(refused)
            if PERSONALIZATION in refused and kind not in ASKS:
                raise RecordError(Reason.NO_CONSENT, "the shopper allows no personalization")
        former_id = self._former.event_id(user, own_id) if self._former is not None and own_id is not None else None
        return Cleaned(event, identity.key, occurred_ms, identity, former_id)

    def unprofiled(self, cleaned: Cleaned) -> Cleaned:
        """What a list is made of for a shopper who allows no personalization: when, and what was searched for. The pseudonym is the event's
        own, so that nothing joins two of them; the sealed id is made for it."""
        event, identity = cleaned.event, cleaned.identity
        pseudonym = NOBODY + event["event_id"]
        asks = bare(event["event_id"], pseudonym, self._identities.seal(identity, pseudonym), event["event_type"], event["occurred_at"])
        asks["query"], asks["refused"] = event["query"], event["refused"]
        asks["flags"] = [UNPROFILED, *(flag for flag in event["flags"] if flag == "query_scrubbed")]
        return cleaned._replace(event=asks, key=pseudonym.encode())

    def _identify(self, raw: Mapping[str, Any], record: SourceRecord, now_ms: int, line: int) -> Cleaned:
        """The event that hands the anonymous shopper's history to the user. It is the anonymous shopper's, so that it comes after all that
        she did before. Raises RecordError, with NO_CONSENT or NOTHING_TO_LINK where it is nobody's fault that nothing is linked."""
        if raw.get("consent") is not True:
            raise RecordError(Reason.NO_CONSENT, "an identify event without `consent: true` links nothing")
        try:
            user = self._identities.of(raw["user_id"])
            anonymous = self._identities.of("", raw["anonymous_id"])
        except RecordError as error:
            if error.reason not in (Reason.MISSING_USER, Reason.NOBODY):
                raise
            raise RecordError(Reason.NOTHING_TO_LINK, "an identify event needs a user_id and an anonymous_id") from None
        refused = {*self._refused(user.pseudonym, user.former), *self._refused(anonymous.pseudonym, anonymous.former)}
        if PERSONALIZATION in refused:
            raise RecordError(Reason.NO_CONSENT, "the shopper allows no personalization")
        flags: list[str] = []
        occurred_ms = self._time(raw["occurred_at"], record.timestamp, now_ms, flags)
        own_id = identifiers.opaque_id(raw["event_id"])
        hashes, former_id = self._hashes, None
        if own_id is not None:
            # A producer may give what she did, and that she is known from now on, one id.
            event_id = hashes.event_id(anonymous.user_id, f"{identifiers.IDENTIFY}\0{own_id}")
            if self._former is not None:
                former_id = self._former.event_id(anonymous.user_id, f"{identifiers.IDENTIFY}\0{own_id}")
        else:
            event_id = hashes.position_id(record.topic, record.partition, record.offset, line)
        event = bare(
            event_id,
            anonymous.pseudonym,
            anonymous.sealed_id,
            identifiers.IDENTIFY,
            times.floor_to(occurred_ms, self._rules.time_bucket_ms),
        )
        event["flags"] = flags
        event["linked_to"] = user.pseudonym
        event["refused"] = [TRAINING] if TRAINING in refused else []
        return Cleaned(event, anonymous.key, occurred_ms, anonymous, former_id, user)

    def _time(self, occurred_at: float | str | None, record_ms: int, now_ms: int, flags: list[str]) -> int:
        if occurred_at is not None:
            occurred_ms = times.to_milliseconds(occurred_at)
        elif record_ms > 0:
            occurred_ms = record_ms
            flags.append("time_filled")
        else:
            raise RecordError(Reason.BAD_TIME, "neither the event nor its record has a time")
        # The record's own time stands for the present, so that a record that is processed again is judged the same; the
        # clock only where a producer's clock is ahead of it.
        present = record_ms if 0 < record_ms < now_ms else now_ms
        times.check_window(occurred_ms, present, self._rules.max_future_ms, self._rules.max_age_ms)
        return occurred_ms


def quantity(value: float | None, cap: int = DEFAULT_CAP, *, is_return: bool = False) -> tuple[int, bool]:
    """Whole units, at least 1, and whether the cap cut it. Returns may be negative in some shops: their size counts.

    Raises RecordError if it is not a whole number above zero: half a unit is not one, and not two.
    """
    if value is None:
        return 1, False
    size = abs(value) if is_return else value
    if not 0 < size < 1e12:  # also refuses NaN and infinity
        raise RecordError(Reason.BAD_QUANTITY, "quantity must be a number above zero")
    units = int(size)
    if units != size:
        raise RecordError(Reason.BAD_QUANTITY, "quantity is a fraction; for goods by weight say `fractions: one` in the source's mapping")
    return (cap, True) if units > cap else (units, False)
