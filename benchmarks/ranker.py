"""What a ranker costs the processor, an answer: ``python -m benchmarks.ranker``.

Sixty-four shoppers are answered together, as a busy worker does, in a made-up shop whose related items, pairs and texts agree about as
much as a real shop's do: an answer has about a hundred candidates. Each part is measured by itself, with the same input in every round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import interleave, save
from streams.engine.records import MemoryRecord
from streams.ranking.arrange import arrange, find_newcomers
from streams.ranking.embedding import Embedding, embed, scratch_for
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.batch import Batch, Pairs, Reach, dots, gather, reach, values
from streams.ranking.learned.candidates import SOURCES, by_source, for_all, most_similar, union
from streams.ranking.learned.crosses import BINS, Crosses
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE, Levels, levels
from streams.ranking.learned.model import NODES, PATTERNS, Forest, Ranker, no_forest
from streams.ranking.learned.reasons import Chosen, explain_learned
from streams.ranking.learned.related import RelatedItems
from streams.ranking.learned.scoring import Candidates, candidates
from streams.ranking.popularity import DecayedCount, prior
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import Ranking
from streams.ranking.request import Entry, Request
from streams.ranking.rules import CODES, DAY_MS, ProfileRules
from streams.ranking.select import Chosen as ChosenPairs
from streams.ranking.select import ScorePairs, best, exclude, margin, masked_rows, propose
from streams.ranking.slate.rules import SlateRules
from streams.ranking.together_table import NOTHING, Neighbours, TogetherTable
from streams.serde.codec import local_codecs
from streams.serde.vectors import to_bytes, vector_key
from streams.settings import Settings
from streams.topics import ITEMS_VECTORS
from streams.training.learned.additive import CROSSED

ITEMS, DIMENSION, USERS, HISTORY, KINDS = 4_000, 384, 64, 30, 80
TOGETHER, RELATED = 64, 128
TREES = 60
BATCHES = 4
"""Different ones, so that what a shopper needs is not in the processor's cache already."""
NOW_MS = 1_700_000_000_000
VERSION = "bench"


@dataclass(frozen=True)
class Shop:
    """All that answers are made of."""

    matrix: ItemMatrix
    popularity: PopularityTable
    together: TogetherTable
    related: RelatedItems
    kinds: Any
    rules: ProfileRules


@dataclass(frozen=True)
class Prepared:
    """A batch of requests, and what each part of an answer begins with."""

    requests: list[Request]
    embeddings: list[Embedding]
    users: Any
    batch: Batch
    similar: Pairs
    shut: Pairs
    reached: Reach
    found: Candidates
    chosen: ChosenPairs


def main() -> None:
    """Measure and save."""
    runs, seed = int(os.environ.get("BENCH_RUNS", "7")), int(os.environ.get("BENCH_SEED", "20"))
    generator = np.random.default_rng(seed)
    shop = made(generator)
    additive = Ranker(*tables(generator), shop.related, no_forest(), crosses=crossed(generator))
    forest = Ranker(*tables(generator), shop.related, grown(generator))
    batches = [prepared(shop, requests(shop, generator)) for _ in range(BATCHES)]
    work: dict[str, Callable[[Prepared], object]] = {
        "additive model": lambda of: additive.scores(of.found.levels),
        "forest": lambda of: forest.scores(of.found.levels),
        "features": lambda of: features(shop, of),
        "features and additive model": lambda of: additive.scores(features(shop, of)),
        "features and forest": lambda of: forest.scores(features(shop, of)),
        "histories": lambda of: gather(of.requests, of.embeddings, of.users, shop.matrix, shop.rules.together.session_ms),
        "candidates": lambda of: candidate_pairs(shop, of),
        "reasons": partial(reasons, shop, additive),
        "reasons, forest": partial(reasons, shop, forest),
        "list, best scores": partial(listed, shop, SlateRules()),
        "list, varied": partial(listed, shop, SlateRules(diversity_weight=0.1, variants_once=True)),
        "list, places for new items": partial(listed, shop, SlateRules(new_share=0.1)),
        "answer without ranker": lambda of: answer(shop, of, None),
        "answer, additive model": lambda of: answer(shop, of, additive),
        "answer, forest": lambda of: answer(shop, of, forest),
    }
    for one in work.values():
        for batch in batches:
            one(batch)
    measured = interleave({name: partial(microseconds, one, batches) for name, one in work.items()}, runs)
    result: dict[str, Any] = {
        "items": ITEMS,
        "dimension": DIMENSION,
        "shoppers": USERS,
        "history": HISTORY,
        "trees": TREES,
        "candidates_mean": statistics.mean(len(batch.found.pairs.rows) / USERS for batch in batches),
        "medians": {name: statistics.median(own) for name, own in measured.items()},
        "runs": measured,
    }
    print(f"{result['candidates_mean']:.0f} candidates an answer; wrote {save('ranker', result)}")


def microseconds(work: Callable[[Prepared], object], batches: list[Prepared], _: int, *, least_s: float = 0.2) -> float:
    """Of the processor, an answer."""
    begun, answers = time.process_time(), 0
    while (took := time.process_time() - begun) < least_s:
        for batch in batches:
            work(batch)
        answers += len(batches) * USERS
    return 1e6 * took / answers


def made(generator: np.random.Generator) -> Shop:
    """A shop in kinds; what is of one kind is alike, bought together and related."""
    rules = ProfileRules.from_settings(Settings())
    kinds = np.arange(ITEMS) % KINDS
    return Shop(
        catalogue(generator, kinds), sold(generator, rules), bought(generator, kinds, rules), related(generator, kinds), kinds, rules
    )


def catalogue(generator: np.random.Generator, kinds: Any) -> ItemMatrix:
    codec = local_codecs().for_topic(ITEMS_VECTORS)
    matrix = ItemMatrix(codec, VERSION, DIMENSION)
    directions = generator.standard_normal((KINDS, DIMENSION), np.float32)
    vectors = unit(directions[kinds] + generator.standard_normal((ITEMS, DIMENSION), np.float32))
    value = {"model_version": VERSION, "recommendable": True, "encoded_at": NOW_MS}
    records = []
    for item, vector in enumerate(vectors):
        own = {
            "item_id": name_of(item),
            "text_hash": f"{item:032x}",
            "vector": to_bytes(vector),
            "category": str(kinds[item]),
            "price_band": int(item % 12),
        }
        records.append(MemoryRecord(ITEMS_VECTORS, 0, 0, NOW_MS, vector_key(VERSION, name_of(item)), codec.encode({**value, **own})))
    matrix.apply(records)
    return matrix


def sold(generator: np.random.Generator, rules: ProfileRules) -> PopularityTable:
    """Few items sell well, most hardly, and a fifth not at all."""
    board = PopularityTable(None, rules.popularity_half_life_ms)
    for rank, item in enumerate(generator.permutation(ITEMS)[: ITEMS * 4 // 5].tolist()):
        count, age = 300.0 / (1 + rank) ** 0.7, int(generator.integers(1, 300)) * DAY_MS
        others = (0.5 * count, 2 * count, 6 * count)
        last = NOW_MS - int(generator.integers(30 * DAY_MS))
        board.put(0, name_of(item), DecayedCount(count, NOW_MS, rank, others, NOW_MS - age, last, int(3 * count)))
    return board


def bought(generator: np.random.Generator, kinds: Any, rules: ProfileRules) -> TogetherTable:
    table = TogetherTable(None, rules.together.half_life_ms)
    for item in range(ITEMS):
        others = near(generator, kinds, item, TOGETHER)
        counts = dict(zip(map(name_of, others.tolist()), (20.0 * generator.random(len(others)) ** 4).tolist(), strict=True))
        table.put(0, name_of(item), 30.0, counts, as_of_ms=NOW_MS, source_offset=1)
    table.refresh()
    return table


def related(generator: np.random.Generator, kinds: Any) -> RelatedItems:
    others = [np.sort(near(generator, kinds, item, RELATED)) for item in range(ITEMS)]
    alike = [kinds[own] == kinds[item] for item, own in enumerate(others)]
    weights = np.concatenate([generator.normal(0.0, 0.01, RELATED) + 0.2 * own * generator.random(RELATED) ** 4 for own in alike])
    starts = np.arange(ITEMS + 1, dtype=np.int64) * RELATED
    return RelatedItems([name_of(item) for item in range(ITEMS)], Neighbours(starts, np.concatenate(others), weights.astype(np.float32)))


def near(generator: np.random.Generator, kinds: Any, item: int, count: int) -> Any:
    """Other items: those of the same kind, and as many of any kind as are still wanted."""
    own = np.flatnonzero(kinds == kinds[item])
    some = np.concatenate((own[own != item], generator.choice(ITEMS, 2 * count, replace=False)))
    _, firsts = np.unique(some, return_index=True)
    found = some[np.sort(firsts)]
    return found[found != item][:count].astype(np.int64)


def requests(shop: Shop, generator: np.random.Generator) -> list[Request]:
    """Shoppers who did something with thirty items of two kinds, a few of them in the last hour, and must not be shown those again."""
    types = [CODES[name] for name in ("view", "click", "cart", "purchase")]
    found = []
    for _ in range(USERS):
        own = np.flatnonzero(np.isin(shop.kinds, generator.choice(KINDS, 2, replace=False)))
        history = [name_of(item) for item in generator.choice(own, HISTORY, replace=False).tolist()]
        ages = np.sort(generator.integers(0, 90 * DAY_MS, HISTORY))
        ages[:5] = generator.integers(0, 3_600_000, 5)
        entries = [
            Entry(float(generator.choice([0.2, 0.3, 0.6, 1.0])), NOW_MS - age, int(generator.choice(types))) for age in ages.tolist()
        ]
        found.append(Request(history, entries, [], None, history, NOW_MS, int(generator.integers(1 << 62))))
    return found


def prepared(shop: Shop, some: list[Request]) -> Prepared:
    """As ``Ranking`` does it, step by step."""
    matrix, rules, wanted = shop.matrix, shop.rules, SOURCES["similar"]
    scratch = scratch_for(some, DIMENSION)
    embeddings = [embed(one, matrix, {}, scratch, half_life_ms=rules.half_life_ms, blend=rules.search_blend) for one in some]
    users = np.stack([embedding.vector for embedding in embeddings])
    priors = prior(shop.popularity.counts(matrix, shop.popularity.cell(NOW_MS)), rules.popularity_weight)
    scores = users @ matrix.vectors.T + priors + masked_rows(matrix.recommendable)
    exclude(scores, [one.excluded for one in some], matrix.rows)
    proposed = propose(scores, wanted, float("-inf"), margin(DIMENSION))
    own = priors[proposed.rows]
    session_ms = rules.together.session_ms
    found = candidates(
        some,
        embeddings,
        users,
        proposed,
        own,
        matrix,
        shop.popularity,
        shop.together,
        shop.related,
        [NOTHING] * len(some),
        session_ms=session_ms,
    )
    close = Pairs(np.searchsorted(proposed.users, np.arange(len(some) + 1)).astype(np.int64), proposed.rows.astype(np.int64))
    similar = most_similar(close, dots(users, matrix, close).astype(np.float64) + own)
    gone = [[matrix.rows[item] for item in one.excluded] for one in some]
    shut = Pairs(np.concatenate(([0], np.cumsum([len(rows) for rows in gone]))).astype(np.int64), np.concatenate(gone).astype(np.int64))
    pairs = ScorePairs(found.pairs.users, found.pairs.rows)
    chosen = best(pairs, found.cosines[:, None], matrix.ids, users=len(some), count=rules.top_k, threshold=float("-inf"))
    reached = reach(found.batch, shop.together, shop.related, matrix)
    return Prepared(some, embeddings, users, found.batch, similar, shut, reached, found, chosen)


def candidate_pairs(shop: Shop, of: Prepared) -> Pairs:
    """The union of all sources."""
    matrix, every = shop.matrix, np.arange(ITEMS)
    activity = shop.popularity.activity(matrix, np.full(ITEMS, shop.popularity.cell(NOW_MS)), every)
    shared = [for_all(activity.counts, activity.first_ms, matrix.recommendable, matrix.ids)] * USERS
    reached = reach(of.batch, shop.together, shop.related, matrix)
    sources = by_source(reached, matrix, of.similar, shared, [NOTHING] * USERS, matrix.recommendable, of.shut)
    return union(sources, USERS, ITEMS)


def features(shop: Shop, of: Prepared) -> Levels:
    """What is counted of the candidates, their features, and these as levels."""
    pairs = of.found.pairs
    cells = np.full(len(pairs.rows), shop.popularity.cell(NOW_MS))
    activity = shop.popularity.activity(shop.matrix, cells, pairs.rows)
    return levels(values(of.batch, shop.matrix, pairs, activity, of.reached, [NOTHING] * USERS))


def reasons(shop: Shop, ranker: Ranker, of: Prepared) -> object:
    """Of ten chosen candidates of each shopper; what is left of their scores' shares is looked up first."""
    pairs, matrix, chosen = of.found.pairs, shop.matrix, of.chosen
    shares = ranker.shares(of.found.levels[chosen.places])
    return explain_learned(
        Chosen(chosen.counts, pairs.rows[chosen.places], shares, shares.sum(axis=1)),
        of.embeddings,
        of.batch,
        0,
        matrix,
        shop.together,
        ranker.related,
        shop.rules.reasons_max,
    )


def listed(shop: Shop, slate: SlateRules, of: Prepared) -> object:
    """The ten items that are shown, of scored candidates."""
    pairs, totals = of.found.pairs, of.found.cosines.astype(np.float64)
    newcomers = find_newcomers(slate, of.requests, of.users, shop.matrix, shop.popularity)
    return arrange(
        ScorePairs(pairs.users, pairs.rows),
        totals,
        lambda places: np.clip(totals[places], 0.0, 1.0),
        of.requests,
        newcomers,
        shop.matrix,
        slate,
        count=shop.rules.top_k,
        threshold=float("-inf"),
    )


def answer(shop: Shop, of: Prepared, ranker: Ranker | None) -> object:
    """All of it, as it serves."""
    ranking = Ranking(of.requests, shop.matrix, shop.popularity, {}, shop.rules, shop.together, ranker)
    return ranking.answer(0, [one.excluded for one in of.requests])


def tables(generator: np.random.Generator) -> tuple[Any, float, float, float]:
    """Smooth curves of every feature, steeper for what matters more in a real shop."""
    curves = np.cumsum(generator.normal(0.0, 0.01, (len(FEATURES), LEVELS)), axis=1)
    curves[PLACE["related"]] += np.linspace(0.0, 3.0, LEVELS)
    return curves.astype(np.float32), 0.0, 1.0, -3.0


def crossed(generator: np.random.Generator) -> Crosses:
    """As many tables of two features as a fitted ranker has; what they say does not matter here."""
    features = np.array([[PLACE[first], PLACE[second]] for first, second in CROSSED], np.uint8)
    bins = np.broadcast_to(np.arange(LEVELS) * BINS // LEVELS, (len(features), 2, LEVELS)).astype(np.uint8)
    return Crosses(features, bins, generator.normal(0.0, 0.1, (len(features), BINS * BINS)).astype(np.float32))


def grown(generator: np.random.Generator) -> Forest:
    """Trees of eight leaves; what they say does not matter here."""
    return Forest(
        generator.integers(0, len(FEATURES), (TREES, NODES)).astype(np.uint8),
        generator.integers(0, LEVELS, (TREES, NODES)).astype(np.uint8),
        generator.normal(0.0, 0.1, (TREES, PATTERNS)).astype(np.float32),
        generator.normal(0.0, 0.1, (TREES, PATTERNS, NODES)).astype(np.float32),
    )


def name_of(item: int) -> str:
    return f"{item:07}"


def unit(vectors: Any) -> Any:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


if __name__ == "__main__":
    main()
