"""What attackers reach with a budget of users and events: ``make bench-poison``.

A simulated shop of 2,000 shoppers. Attackers push one item that nobody has touched, in several ways. Then everyone is recommended ten
items. The figure is the share of honest shoppers who did not touch the item and have it among theirs: by the hand-set sum, and by a
ranker that is fitted to the poisoned past.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click

from benchmarks.harness import save
from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from streams.backtest.finetune import pair_rules
from streams.backtest.pairs import PairMaker
from streams.backtest.runner import Backtest
from streams.ranking.learned.model import Ranker
from streams.serde.codec import local_codecs
from streams.settings import Settings
from streams.simulator.shop import Shop
from streams.training.learned.fit import RankerRule

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS, DAYS = 1_700_000_000_000, 20
END_MS = START_MS + DAYS * DAY_MS

Event = dict[str, Any]


class Budget(NamedTuple):
    """Of the attackers."""

    users: int
    events: int
    """Of each."""


class Around(NamedTuple):
    """What attackers can see of the shop."""

    target: str
    popular: list[str]
    """Best-selling items, best first."""
    draw: random.Random


def event(user: str, kind: str, item: str, at_ms: int, number: int) -> Event:
    return {"user_id": user, "event_type": kind, "item_id": item, "occurred_at": at_ms, "event_id": f"{user} {number}"}


def one_minute(around: Around, budget: Budget) -> Iterator[Event]:
    """Purchases of the item, all in the last minute."""
    for user in range(budget.users):
        for number in range(budget.events):
            yield event(f"evil {user}", "purchase", around.target, END_MS - 60_000, number)


def whole_time(around: Around, budget: Budget) -> Iterator[Event]:
    """Events of all kinds with the item, spread over the whole time, in the order that counts most."""
    for user in range(budget.users):
        for number in range(budget.events):
            at_ms = START_MS + (number + 1) * DAYS * DAY_MS // (budget.events + 1)
            kind = "purchase" if number % 4 == 3 else around.draw.choice(["view", "click", "cart", "dismiss"])
            yield event(f"evil {user}", kind, around.target, at_ms, number)


def with_the_popular(around: Around, budget: Budget) -> Iterator[Event]:
    """Baskets of popular items and the item, so that it goes with all of them."""
    for user in range(budget.users):
        for number in range(budget.events):
            item = around.target if number % 5 == 4 else around.popular[(user + number) % len(around.popular)]
            yield event(f"evil {user}", "purchase", item, END_MS - 2 * HOUR_MS + number * 1000, number)


def patiently(around: Around, budget: Budget) -> Iterator[Event]:
    """Accounts that buy popular items on several days before they buy the item, all on the last one."""
    for user in range(budget.users):
        for number in range(budget.events):
            days = 4 - 4 * number // budget.events
            is_last = number * 5 >= budget.events * 4
            item = around.target if is_last else around.popular[(user + number) % len(around.popular)]
            yield event(f"evil {user}", "purchase", item, END_MS - days * DAY_MS + number * 1000, number)


WAYS: dict[str, Callable[[Around, Budget], Iterator[Event]]] = {
    "in one minute": one_minute,
    "over the whole time": whole_time,
    "with popular items": with_the_popular,
    "with popular items, for days": patiently,
}
BUDGETS = (Budget(1, 1000), Budget(10, 100), Budget(50, 20), Budget(200, 20))


class Poisoned:
    """The shop's past with an attack in it."""

    def __init__(self, seed: int, size: int, shoppers: int) -> None:
        self.shop = Shop(seed, size, shoppers, START_MS, 72 * HOUR_MS)
        self.sent: list[tuple[int, Event]] = []
        """The honest events, and about when each was sent."""
        for hour in range(DAYS * 24):
            sent = self.shop.step(START_MS + hour * HOUR_MS)
            at_ms = START_MS + hour * HOUR_MS
            self.sent += [(at_ms, one.value) for one in sent if isinstance(one.value, dict) and one.expected is None]
        self.codecs, self.encoder = local_codecs(), MicroBatcher(HashingEncoder(256))
        sold: dict[str, int] = {}
        self.touched: dict[str, set[str]] = {}
        for _, one in self.sent:
            self.touched.setdefault(str(one["user_id"]), set()).add(str(one["item_id"]))
            if one["event_type"] == "purchase":
                sold[one["item_id"]] = sold.get(one["item_id"], 0) + 1
        everything = {item for own in self.touched.values() for item in own}
        untouched = [item.item_id for item in self.shop.items if item.item_id not in everything]
        popular = sorted(sold, key=lambda item: -sold[item])[:20]
        least = min((item.item_id for item in self.shop.items), key=lambda item: sum(item in own for own in self.touched.values()))
        self.around = Around(untouched[0] if untouched else least, popular, random.Random(seed))

    def shown(self, attack: list[Event], *, fits: bool) -> dict[str, float]:
        """Share of the honest shoppers, who did not touch it, with the item in their top ten."""
        settings = Settings(model="hashing")
        backtest = Backtest(settings, self.codecs, self.encoder, END_MS)
        backtest.load_items([item.value for item in self.shop.items], lambda _: None)
        maker = PairMaker(pair_rules(settings))
        missing = dict.fromkeys(self.sent[0][1])
        attacking = [(one["occurred_at"], {**missing, **one}) for one in attack]
        backtest.learn([one for _, one in sorted([*self.sent, *attacking], key=lambda sent: sent[0])], lambda _: None, maker.add)
        found = {"sum": self._share(backtest, None)}
        if fits:
            fitted = backtest.fit(maker.pairs(), RankerRule(threads=1), include_seen=True, on_step=lambda _: None)
            # Without a ranker, or with one that was not better, a shop is served by the sum.
            found["ranker"] = found["sum"] if fitted is None or not fitted.beats_the_sum else self._share(backtest, fitted.ranker)
            found["fitted"] = float(fitted is not None)
        return found

    def _share(self, backtest: Backtest, ranker: Ranker | None) -> float:
        target = self.around.target
        users = [user for user, own in self.touched.items() if target not in own]
        shown = {one.user for one in backtest.recommend(users, {}, 10, lambda _: None, ranker) if one.item == target}
        return len(shown) / len(users)


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option("--items", "size", default=1000, show_default=True, help="Items of the shop.")
@click.option("--shoppers", default=2000, show_default=True)
@click.option("--fit/--no-fit", "fits", default=True, show_default=True, help="Whether rankers are fitted too; a minute each.")
def main(seed: int, size: int, shoppers: int, fits: bool) -> None:
    """Measure and save."""
    begun = time.perf_counter()
    shop = Poisoned(seed, size, shoppers)
    print(f"{len(shop.sent)} honest events, {time.perf_counter() - begun:.0f} s", flush=True)
    result: dict[str, Any] = {"shoppers": shoppers, "items": size, "seed": seed, "events": len(shop.sent), "shown": {}}
    for way, attack in {"no attack": None, **WAYS}.items():
        for budget in BUDGETS if attack is not None else BUDGETS[:1]:
            name = way if attack is None else f"{budget.users} x {budget.events}, {way}"
            result["shown"][name] = shop.shown([] if attack is None else list(attack(shop.around, budget)), fits=fits)
            told = ", ".join(f"{who} {share:.2%}" for who, share in result["shown"][name].items())
            print(f"{name}: {told}; {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"wrote {save('poison', result)}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
