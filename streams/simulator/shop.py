"""The shop: time passes; shoppers come, search, look, buy and react to recommendations. Some of their events are broken on purpose."""

from __future__ import annotations

import heapq
import json
import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from streams.errors import Reason
from streams.privacy.consent import GATED, PERSONALIZATION
from streams.serde.records import Consent
from streams.simulator.catalogue import ShopItem, kinds, make_catalogue, style_names
from streams.simulator.groups import GroupOutcome, outcome
from streams.simulator.shopper import Shopper, ask, buys, clicks, drift, looks_at, make_shoppers

CONTROL_SHARE = 0.3
_MINUTE_MS = 60_000
_BROKEN_SHARE = 0.03
_DUPLICATE_SHARE = 0.02


class Emission(NamedTuple):
    """One record for behaviour.raw. ``value`` is a dict to encode, or bytes to send as they are."""

    key: bytes
    value: dict[str, Any] | bytes
    headers: tuple[tuple[str, bytes], ...]
    user_id: str
    event_id: str | None
    expected: Reason | None
    """The reason of the dead letter that it must become; None if it must become a clean event (or a known duplicate)."""
    duplicate: bool = False
    may_be_held_back: bool = False
    """Its shopper allows no personalization, and it is no search: it becomes nothing, where it asks for no list or has one already."""


class Shop:
    """Deterministic by seed and by what it is given. Times are simulated milliseconds."""

    def __init__(
        self, seed: int, items: int, shoppers: int, start_ms: int, session_every_ms: int, held_back: int = 0, *, asks: bool = False
    ) -> None:
        """``held_back``: so many of the items are not for sale before ``launch``. ``asks``: whether some shoppers refuse; else all agree to
        everything."""
        self._rng = random.Random(seed)
        self._session_every_ms = session_every_ms
        made = make_catalogue(items, self._rng)
        self.items, self._held_back = made[: items - held_back], made[items - held_back :]
        self.by_id = {item.item_id: item for item in self.items}
        self.shoppers = make_shoppers(shoppers, self._rng, start_ms, session_every_ms, CONTROL_SHARE)
        if asks:
            ask(self.shoppers, random.Random(f"{seed}/consent"))
        self._by_user = {shopper.user_id: shopper for shopper in self.shoppers}
        self._by_kind: dict[int, list[ShopItem]] = {}
        for item in self.items:
            self._by_kind.setdefault(item.traits.kind, []).append(item)
        self._queue: list[tuple[int, int, Shopper, dict[str, Any]]] = []
        self._sequence = 0
        self._ids = 0

    def launch(self, count: int) -> list[ShopItem]:
        """The next items that were held back are for sale from now on, at most ``count``."""
        launched, self._held_back = self._held_back[:count], self._held_back[count:]
        for item in launched:
            self.items.append(item)
            self.by_id[item.item_id] = item
            self._by_kind.setdefault(item.traits.kind, []).append(item)
        return launched

    def step(self, now_ms: int, *, new_sessions: bool = True) -> list[Emission]:
        """Everything that happens up to now."""
        if new_sessions:
            for shopper in self.shoppers:
                while shopper.next_session_ms <= now_ms:
                    self._session(shopper, shopper.next_session_ms)
                    shopper.next_session_ms += int(self._rng.expovariate(1 / self._session_every_ms)) + _MINUTE_MS
        emissions: list[Emission] = []
        while self._queue and self._queue[0][0] <= now_ms:
            time_ms, _, shopper, fields = heapq.heappop(self._queue)
            emissions += self._emit(time_ms, shopper, fields)
        return emissions

    def receive(self, recommendation: Mapping[str, Any], user_id: str, now_ms: int) -> bool:
        """A recommendation reaches its shopper, who may look, click and buy; False if nobody sees it."""
        shopper = self._by_user.get(user_id)
        if shopper is None or shopper.control:
            return False
        at_ms, rng = now_ms, self._rng
        common = {"recommendation_id": recommendation["recommendation_id"]}
        for position, entry in enumerate(recommendation["items"]):
            item = self.by_id.get(entry["item_id"])
            if item is None or rng.random() > looks_at(position):
                continue
            about = {"item_id": item.item_id, "position": position} | (common if rng.random() < 0.8 else {})
            at_ms += 2_000
            self._at(at_ms, shopper, about | {"event_type": "impression"})
            wants = shopper.affinity(item)
            if rng.random() < clicks(wants):
                at_ms += 15_000
                self._at(at_ms, shopper, about | {"event_type": "click"})
                if rng.random() < buys(wants):
                    at_ms = self._purchase(shopper, item, at_ms, about)
            elif wants < 0.05 and rng.random() < 0.02:
                self._at(at_ms + 1_000, shopper, about | {"event_type": "dismiss"})
        return True

    def consents(self, now_ms: int) -> list[Consent]:
        """What the shop's banner was answered."""
        return [
            Consent(
                user_id=shopper.user_id,
                purposes={purpose: purpose in shopper.allows for purpose in GATED},
                updated_at=now_ms,
                policy_version="2026-11",
                anonymous_id=None,
                source="banner",
            )
            for shopper in self.shoppers
        ]

    def outcome(self) -> GroupOutcome:
        """What those who see recommendations bought so far, and those who don't."""
        return outcome(self.shoppers, lambda shopper: not shopper.control)

    def outcome_by_language(self) -> dict[str, GroupOutcome]:
        """The same, of those who search in Chinese and of those who search in English."""
        return {
            name: outcome([s for s in self.shoppers if s.chinese == chinese], lambda shopper: not shopper.control)
            for name, chinese in (("chinese", True), ("english", False))
        }

    def secrets(self) -> list[str]:
        """Everything about the shoppers that must not be found outside the raw topics."""
        return sorted({secret for s in self.shoppers for secret in (s.user_id, s.email, s.phone)})

    def _session(self, shopper: Shopper, begin_ms: int) -> None:
        rng = self._rng
        shopper.sessions += 1
        if rng.random() < 0.1:
            drift(shopper.taste, rng)
        session = {"session_id": f"s-{shopper.user_id}-{shopper.sessions}"}
        at_ms = begin_ms
        if rng.random() < 0.4:
            self._at(at_ms, shopper, session | {"event_type": "search", "query": self._query(shopper)})
            at_ms += 20_000
        for _ in range(rng.randint(1, 4)):
            item = self._browse(shopper)
            self._at(at_ms, shopper, session | {"event_type": "view", "item_id": item.item_id})
            at_ms += rng.randrange(10_000, 90_000)
            wants = shopper.affinity(item)
            if rng.random() < clicks(wants):
                self._at(at_ms, shopper, session | {"event_type": "click", "item_id": item.item_id})
                if rng.random() < buys(wants):
                    at_ms = self._purchase(shopper, item, at_ms, session)

    def _purchase(self, shopper: Shopper, item: ShopItem, at_ms: int, fields: dict[str, Any]) -> int:
        rng = self._rng
        shopper.purchases += 1
        shopper.bought.add(item.item_id)
        money = {"price": item.value["price"], "currency": item.value["currency"]}
        quantity = 40_000.0 if rng.random() < 0.003 else float(rng.choice((1, 1, 1, 2)))
        self._at(at_ms + 10_000, shopper, fields | money | {"event_type": "cart", "item_id": item.item_id, "quantity": quantity})
        self._at(at_ms + 40_000, shopper, fields | money | {"event_type": "purchase", "item_id": item.item_id, "quantity": quantity})
        if rng.random() < 0.06:
            self._at(at_ms + 40 * _MINUTE_MS, shopper, {"event_type": "return", "item_id": item.item_id, "quantity": 1.0})
        return at_ms + 45_000

    def _browse(self, shopper: Shopper) -> ShopItem:
        """Half by what is popular, half by taste, without the shop's help to find the best of it."""
        rng = self._rng
        pool = self.items
        if rng.random() < 0.5:
            pool = self._by_kind.get(rng.choice(list(shopper.taste.kinds))) or self.items
        return max(rng.sample(pool, min(3, len(pool))), key=lambda item: item.popularity)

    def _query(self, shopper: Shopper) -> str:
        rng = self._rng
        _, english, chinese = kinds()[rng.choice(list(shopper.taste.kinds))]
        style = style_names(shopper.taste.style)
        words = f"{style[1]} {chinese}" if shopper.chinese else f"{style[0]} {english}"
        if not shopper.chinese and rng.random() < 0.2:
            place = rng.randrange(len(words) - 1)
            words = words[:place] + words[place + 1] + words[place] + words[place + 2 :]
        if rng.random() < 0.04:
            words += f" {rng.choice((shopper.email, shopper.phone))}"  # typed into the wrong box
        return words

    def _at(self, time_ms: int, shopper: Shopper, fields: dict[str, Any]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (time_ms, self._sequence, shopper, fields))

    def _emit(self, time_ms: int, shopper: Shopper, fields: dict[str, Any]) -> list[Emission]:
        rng = self._rng
        self._ids += 1
        event_id = f"{shopper.user_id}/{self._ids}"
        value: dict[str, Any] = {
            "user_id": shopper.user_id,
            "event_id": event_id,
            "occurred_at": _as_producers_write(time_ms, rng),
            "region": rng.choice(("CN-31", "zh-CN", "上海") if shopper.chinese else ("DE", "United Kingdom", "fr-FR")),
            "user_agent": "ShopApp/5.2 (iPhone; iOS 19.1)",
            **dict.fromkeys(("item_id", "query", "quantity", "price", "currency", "recommendation_id", "position", "session_id")),
            **fields,
        }
        key = shopper.user_id.encode()
        may_be_held_back = PERSONALIZATION not in shopper.allows and value["event_type"] != "search"
        sent = [Emission(key, value, (), shopper.user_id, event_id, None, may_be_held_back=may_be_held_back)]
        if rng.random() < _DUPLICATE_SHARE:
            sent.append(sent[0]._replace(duplicate=True))
        if rng.random() < _BROKEN_SHARE:
            sent.append(self._broken(key, value, shopper))
        return sent

    def _broken(self, key: bytes, value: dict[str, Any], shopper: Shopper) -> Emission:
        rng = self._rng
        other = value | {"event_id": f"broken-{self._ids}"}
        json_header = (("content-type", b"application/json"),)
        choices: list[tuple[dict[str, Any] | bytes, tuple[tuple[str, bytes], ...], Reason]] = [
            (other | {"event_type": "telepathy"}, (), Reason.UNKNOWN_EVENT_TYPE),
            (other | {"user_id": "  "}, (), Reason.MISSING_USER),
            (other | {"event_type": "view", "item_id": None}, (), Reason.MISSING_ITEM),
            (other | {"occurred_at": "the day before yesterday"}, (), Reason.BAD_TIME),
            (other | {"occurred_at": 4_102_444_800}, (), Reason.TIME_IN_FUTURE),
            (other | {"occurred_at": 1_000}, (), Reason.TIME_TOO_OLD),
            (other | {"event_type": "purchase", "item_id": "E00001", "quantity": math.nan}, (), Reason.BAD_QUANTITY),
            (other | {"user_agent": "python-requests/2.31"}, (), Reason.AUTOMATED),
            (b"\x00\x00\x00\x00\x07" + rng.randbytes(40), (), Reason.UNKNOWN_SCHEMA),
            (b"{" + rng.randbytes(20), (), Reason.BAD_FRAMING),
            (json.dumps({"user_id": shopper.user_id}).encode(), json_header, Reason.UNDECODABLE),
            (b"", (), Reason.EMPTY),
        ]
        broken, headers, reason = rng.choice(choices)
        return Emission(key, broken, headers, shopper.user_id, None, reason)


def _as_producers_write(time_ms: int, rng: random.Random) -> int | float | str:
    """Producers don't agree on how to write a time."""
    way = rng.randrange(4)
    if way == 0:
        return time_ms
    if way == 1:
        return time_ms / 1000
    moment = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds") if way == 2 else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
