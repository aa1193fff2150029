"""A shop at a cut as ``veilstream backtest`` learns it, with the lists that rankers are fitted to and judged on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.retail import Cut, Purchases
from streams.ranking.learned.related import RelatedItems
from streams.ranking.prepared import Items
from streams.ranking.request import Request
from streams.training.evaluation.metrics import discounts
from streams.training.learned.lists import Lists
from streams.training.learned.past import PastShop, Wanted

Floats = npt.NDArray[np.float64]
K = 10


class Learned(NamedTuple):
    """What the product knows at a cut."""

    past: PastShop
    matrix: Items
    rules: Any
    requests: dict[str, Request]
    """By shopper that is judged, without what she must not get again."""


class Told(NamedTuple):
    """Lists of one moment, and whose they are."""

    at_ms: int
    wanted: list[Wanted]
    lists: Lists
    items: list[str]
    """Each pair's item."""


def learned(data: Path, purchases: Purchases, cut: Cut, model: str = "bundled") -> Learned:
    """Through the stages' own handlers, with default settings."""
    from encoders import load_encoder
    from encoders.batching.micro_batcher import MicroBatcher
    from streams.backtest.finetune import pair_rules
    from streams.backtest.history import EventsBefore
    from streams.backtest.pairs import PairMaker
    from streams.backtest.runner import Backtest
    from streams.producers.csv_files import ReadReport, read_events, read_items
    from streams.ranking.rules import ProfileRules
    from streams.serde.codec import local_codecs
    from streams.settings import Settings

    settings, report, cutoff_ms = Settings(), ReadReport(), round(cut.second * 1000)
    encoder = MicroBatcher(load_encoder(model, device="cpu", precision="auto", token_budget=settings.encoder_token_budget))
    backtest = Backtest(settings, local_codecs(), encoder, cutoff_ms)
    backtest.load_items(read_items(data / "items.csv.gz", report), lambda _: None)
    before = EventsBefore(read_events(data / "events.csv.gz", report), cutoff_ms)
    maker = PairMaker(pair_rules(settings))
    backtest.learn(before.events, lambda _: None, maker.add)
    rules = replace(ProfileRules.from_settings(settings), recommend=False)
    users = [purchases.user_ids[user] for user in cut.shoppers]
    requests = {user: backtest.request(user, before.seen.get(user, set())) for user in users}
    return Learned(PastShop(maker.pairs(), rules, exclude_seen=True), backtest.matrix, rules, requests)


def training(shop: Learned, on_step: Any = lambda step: None) -> tuple[list[Told], RelatedItems]:
    """The lists of all moments, as the round makes them, and what is related at the end. The shop has gone to its end then."""
    from streams.training.learned.ease import MOST_ITEMS, fit_related
    from streams.training.learned.fit import RankerRule
    from streams.training.learned.lists import make_lists

    past, rules, rule = shop.past, shop.rules, RankerRule()
    local, shoppers = past.shared_items(rules.together.shoppers) > MOST_ITEMS, rules.together.shoppers
    told = []
    for number, at_ms in enumerate(past.moments(rule.moments, rule.first, rule.last)):
        on_step(f"lists of moment {number + 1} of {rule.moments}")
        past.advance(at_ms)
        wanted = past.wanted(at_ms, past.end_ms, rule.shoppers)
        if wanted:
            related = fit_related(past.interactions(at_ms), shoppers=shoppers, local=local)
            tables = (past.popularity(), past.together(at_ms), related)
            lists = make_lists(wanted, shop.matrix, *tables, rules)
            told.append(Told(at_ms, wanted, lists, _items(wanted, shop, *tables)))
    past.advance(past.end_ms)
    return told, fit_related(past.interactions(past.end_ms), shoppers=shoppers, local=local)


def judged(shop: Learned, related: RelatedItems, cut: Cut, purchases: Purchases) -> Told:
    """The lists of the cut's shoppers, labelled by what they bought next; the shop has gone to its end."""
    from streams.training.learned.lists import make_lists

    at_ms = round(cut.second * 1000)
    wanted = [
        Wanted(
            purchases.user_ids[user],
            shop.requests[purchases.user_ids[user]],
            {purchases.item_ids[item]: 3 for item in sorted(items)},
            at_ms,
        )
        for user, items in zip(cut.shoppers.tolist(), cut.targets, strict=True)
    ]
    tables = (shop.past.popularity(), shop.past.together(at_ms), related)
    return Told(at_ms, wanted, make_lists(wanted, shop.matrix, *tables, shop.rules), _items(wanted, shop, *tables))


def _items(wanted: list[Wanted], shop: Learned, popularity: Any, together: Any, related: RelatedItems) -> list[str]:
    """Of each pair of the lists, in their order."""
    from streams.ranking.learned.ranking import candidates_of
    from streams.ranking.prepared import Prepared

    found = []
    for start in range(0, len(wanted), 64):
        batch = Prepared([one.request for one in wanted[start : start + 64]], shop.matrix, popularity, {}, shop.rules)
        found += [shop.matrix.ids[row] for row in candidates_of(batch, popularity, together, related).pairs.rows.tolist()]
    return found


def judge(lists: Lists, scores: Floats) -> tuple[Floats, Floats]:
    """Hit and NDCG@10 of each list, float64 [lists]; what no source found counts as missed. Equal scores keep the lists' order."""
    order = np.lexsort((-scores, lists.owners))
    begins = np.cumsum(lists.sizes) - lists.sizes
    place = np.arange(len(order)) - begins[lists.owners[order]]
    first = place < K
    hits = (lists.labels[order] > 0) & first
    owners, gains = lists.owners[order][hits], discounts(K)
    count = len(lists.sizes)
    ideal = np.cumsum(gains)[np.minimum(lists.wanted, K) - 1]
    hit = np.bincount(owners, minlength=count) > 0
    return hit.astype(np.float64), np.bincount(owners, gains[place[hits]], minlength=count) / ideal
