"""The list that is shown: off by default to the last byte, varied, with new items by a chance that a replay meets again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from encoders.kernels.slate import fill
from streams.ranking import summed
from streams.ranking.arrange import NEWCOMERS, arrange, drawn_places, ordered
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned import ranking as learned_ranking
from streams.ranking.learned.model import Ranker
from streams.ranking.popularity import DecayedCount
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Entry, Ranked, Request
from streams.ranking.rules import PURCHASE, ProfileRules
from streams.ranking.select import ScorePairs, best
from streams.ranking.slate.chance import beta, uniform
from streams.ranking.slate.regrets import lowered, smoothed
from streams.ranking.slate.rules import SlateRules
from streams.ranking.together_table import TogetherTable
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS
from tests.support.learned_shop import ITEMS, QUERIES, RULES, WIDTH, Shop, additive_ranker, item_record, rankers, request_of, shop
from tests.support.profile_harness import CODECS, START_MS, VERSION

seeds = st.integers(0, 10_000)
ALL = SlateRules(
    diversity_weight=0.4, variants_once=True, new_share=0.3, new_exposures=10, dismissal_weight=2.0, return_weight=1.0, new_ms=1 << 50
)


@cache
def varied() -> Shop:
    """The shop with texts of which some are the same, and with what became of its items."""
    known = shop()
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    matrix.apply(
        [
            item_record(
                item,
                known.matrix.vectors[row],
                category=f"c{row % 5}",
                band=row % 13,
                title="lamp" if row % 2 else "red cup",
                recommendable=bool(known.matrix.recommendable[row]),
                text=f"{row % 110:x}".rjust(2, "0")[:2] * 1,
            )
            for item, row in known.matrix.rows.items()
        ]
    )
    popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), RULES.popularity_half_life_ms)
    for n, item in enumerate(ITEMS[:100]):
        count = DecayedCount(
            float(n % 9), START_MS, n, (1.0, 2.0, 3.0), START_MS - n * 10**7, -1, n % 6, 7 * (n % 4), n % 3, n % 2 if n % 6 else 0
        )
        popularity.put(0, item, count)
    return Shop(matrix, popularity, known.together, known.related)


def asked(seed: int) -> Request:
    return request_of(seed)._replace(seed=seed * 0x9E3779B97F4A7C15 % 2**64)


def answers(requests: list[Request], ranker: Ranker | None, rules: ProfileRules, own: Shop | None = None) -> list[Ranked]:
    matrix, popularity, together, _ = own or varied()
    return rank(requests, matrix, popularity, QUERIES, rules, together, ranker)


def same(a: Ranked, b: Ranked) -> bool:
    judged = (a.judged is None, b.judged is None)
    arrays = [(a.scores, b.scores), (a.reasons, b.reasons), (a.shares, b.shares)]
    if a.judged is not None and b.judged is not None:
        arrays.append((a.judged, b.judged))
    return judged[0] == judged[1] and a.items == b.items and a.sources == b.sources and all(x.tobytes() == y.tobytes() for x, y in arrays)


def scores(answer: Ranked) -> list[float]:
    found = answer.scores.sum(axis=1, dtype=np.float64) if answer.judged is None else answer.judged[:, 0]
    return [float(one) for one in found]


@settings(max_examples=15)
@given(st.lists(seeds, min_size=2, max_size=8), seeds, st.integers(1, 30))
@pytest.mark.slow
def test_an_answer_depends_on_its_request_alone(asking: list[int], seed: int, top_k: int) -> None:
    requests, rules = [asked(one) for one in asking], replace(RULES, top_k=top_k, slate=ALL)
    for ranker in (None, *rankers(seed)):
        for request, answer in zip(requests, answers(requests, ranker, rules), strict=True):
            assert same(answer, answers([request], ranker, rules)[0])


@settings(max_examples=15)
@given(seeds, seeds, st.integers(1, 30))
def test_off_is_as_if_there_were_no_slate(asking: int, seed: int, top_k: int) -> None:
    """Weights of 0, counts of outcomes that nothing asks for, and a seed that nothing is left to: not one byte changes."""
    own = varied()
    bare = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), RULES.popularity_half_life_ms)
    for item in ITEMS:
        count = own.popularity.latest(0, item)
        if count is not None:
            bare.put(0, item, count._replace(exposures=0, dismissals=0, returns=0))
    for ranker in (None, *rankers(seed)):
        rules = replace(RULES, top_k=top_k)
        plain = answers([request_of(asking)], ranker, rules, own._replace(popularity=bare))[0]
        assert same(plain, answers([asked(asking)], ranker, replace(rules, slate=SlateRules()), own)[0])


@settings(max_examples=25)
@given(seeds, seeds, st.integers(1, 40))
def test_reasons_add_up_to_the_score_that_is_served(seed: int, asking: int, most: int) -> None:
    rules = replace(RULES, reasons_max=most, slate=ALL)
    for ranker in rankers(seed):
        answer = answers([asked(asking)], ranker, rules)[0]
        assert answer.shares.sum(axis=1, dtype=np.float64) == pytest.approx(scores(answer), abs=1e-6)
    summed_up = answers([asked(asking)], None, replace(rules, reasons_max=1000))[0]
    assert summed_up.shares.sum(axis=1, dtype=np.float64) == pytest.approx(scores(summed_up), abs=1e-5)


@settings(max_examples=25)
@given(seeds, seeds, st.floats(-1.0, 1.0), st.integers(1, 20))
def test_every_item_is_open_above_the_threshold_and_no_other_ones_variant(seed: int, asking: int, threshold: float, top_k: int) -> None:
    matrix, request = varied().matrix, asked(asking)
    for ranker in (None, *rankers(seed)):
        answer = answers([request], ranker, replace(RULES, threshold=threshold, top_k=top_k, slate=ALL))[0]
        rows = [matrix.rows[item] for item in answer.items]
        assert len(rows) <= top_k
        assert all(matrix.recommendable[row] for row in rows)
        assert not set(answer.items) & set(request.excluded)
        new = varied_new()
        assert all(score > threshold or item in new for item, score in zip(answer.items, scores(answer), strict=True))
        assert not answer.items or max(scores(answer)) > threshold, "what is new makes no list by itself"
        assert len({int(matrix.products[row]) for row in rows}) == len(rows)


def varied_new() -> set[str]:
    counted = varied().popularity.outcomes(varied().matrix)
    return {varied().matrix.ids[row] for row in np.flatnonzero(counted.exposures < ALL.new_exposures)}


def greedy(scores: np.ndarray, vectors: np.ndarray, weight: float, count: int) -> list[int]:
    """Maximal marginal relevance, written down as it is defined."""
    chosen: list[int] = []
    while len(chosen) < min(count, len(scores)):
        left = [n for n in range(len(scores)) if n not in chosen]
        near = {n: max((float(vectors[n] @ vectors[m]) for m in chosen), default=0.0) for n in left}
        chosen.append(max(left, key=lambda n: (scores[n] - weight * max(0.0, near[n]), -n)))
    return chosen


@given(seeds, st.integers(1, 30), st.integers(1, 12), st.floats(0.01, 2.0))
def test_the_compiled_loop_is_maximal_marginal_relevance(seed: int, candidates: int, count: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((candidates, 11)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = -np.sort(-rng.normal(0, 1, candidates))
    out, counts = np.zeros((1, count), np.int64), np.zeros(1, np.int64)
    all_of_them, none = np.arange(candidates), np.zeros(0, np.int64)
    chance = np.zeros((1, count), np.bool_)
    fill(
        np.array([0, candidates]),
        all_of_them,
        np.zeros(2, np.int64),
        none,
        all_of_them,
        values,
        np.zeros(candidates, np.bool_),
        np.zeros(candidates),
        chance.copy(),
        vectors,
        np.arange(candidates, dtype=np.uint64),
        weight,
        False,
        out,
        chance,
        counts,
    )
    assert out[0, : counts[0]].tolist() == greedy(values, vectors, weight, count)
    assert not chance.any()


@given(seeds, st.integers(0, 60), st.integers(1, 4), st.integers(1, 12))
def test_ordering_many_is_ordering_few(seed: int, count: int, users: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = ScorePairs(np.sort(rng.integers(0, users, count)), rng.permutation(count))
    totals = rng.integers(0, 6, count) / 4  # many are equal
    ids = [f"i{n:03d}" for n in rng.permutation(count)]
    ours = ordered(pairs, totals, ids, users=users, count=top, threshold=0.3)
    theirs = best(pairs, totals[:, None], ids, users=users, count=top, threshold=0.3)
    assert (ours.places.tolist(), ours.starts, ours.counts) == (theirs.places.tolist(), theirs.starts, theirs.counts)


def test_a_varied_list_is_less_alike() -> None:
    def alike(weight: float) -> float:
        found = 0.0
        for answer in answers([asked(seed) for seed in range(40)], None, replace(RULES, slate=SlateRules(diversity_weight=weight))):
            vectors = varied().matrix.vectors[[varied().matrix.rows[item] for item in answer.items]]
            found += float((vectors @ vectors.T).sum() - len(vectors))
        return found

    assert alike(0.0) > alike(0.3) > alike(3.0)


def test_chance_is_even_and_independent() -> None:
    many = np.arange(40_000, dtype=np.uint64)
    found = uniform(many, np.uint64(7), 0)
    assert found.min() > 0 and found.max() < 1
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    for other in (uniform(many, np.uint64(8), 0), uniform(many, np.uint64(7), 1), uniform(many + np.uint64(1), np.uint64(7), 0)):
        assert abs(np.corrcoef(found, other)[0, 1]) < 0.02
    assert uniform(np.array([1, 2], np.uint64), np.array([3], np.uint64), 4).tolist() == [0.9963886247012221, 0.6599383684320153]


@pytest.mark.parametrize(("mean", "strength"), [(0.5, 1.0), (0.02, 5.0), (0.3, 5.0), (0.9, 40.0), (0.01, 35.0)])
def test_draws_have_the_beta_distribution(mean: float, strength: float) -> None:
    seeds_of = np.arange(50_000, dtype=np.uint64)
    draws = beta(seeds_of, np.uint64(5), np.full(len(seeds_of), mean), np.full(len(seeds_of), strength))
    assert draws.mean() == pytest.approx(mean, rel=0.05, abs=2e-3)
    # Off by the approximation of Wilson and Hilferty, no more.
    assert stats.kstest(draws, stats.beta(mean * strength, (1 - mean) * strength).cdf).statistic < 0.015


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_certain_value_is_drawn_as_a_number(mean: float) -> None:
    draws = beta(np.arange(1000, dtype=np.uint64), np.uint64(5), np.full(1000, mean), np.full(1000, 5.0))
    assert np.isfinite(draws).all() and draws.min() >= 0 and draws.max() <= 1


def test_new_items_get_their_share_of_places() -> None:
    matrix, popularity, _, _ = varied()
    rules = SlateRules(new_share=0.25, new_exposures=5, new_ms=1)
    counted = popularity.outcomes(matrix)
    new = {matrix.ids[row] for row in np.flatnonzero((counted.exposures < 5) & ~(counted.first_ms < START_MS))}
    ranker = additive_ranker(3, varied().related)
    for chosen in (None, ranker):
        requests = [asked(seed)._replace(query=None) for seed in range(300)]
        plain = answers(requests, chosen, RULES)
        shown = answers(requests, chosen, replace(RULES, slate=rules))
        before = np.mean([item in new for answer in plain for item in answer.items])
        after = np.mean([item in new for answer in shown for item in answer.items])
        assert after > before
        # At least what is drawn, as far as a shopper has new items at all.
        drawn = drawn_places(np.array([request.seed for request in requests], np.uint64), RULES.top_k, 0.25)
        for answer, wanted in zip(shown, drawn, strict=True):
            mine = sum(item in new for item in answer.items)
            # A shopper may have had some of those that are looked at for her.
            assert mine >= min(int(wanted.sum()), NEWCOMERS - 10)
        assert drawn.mean() == pytest.approx(0.25, abs=0.02)


def test_without_a_seed_nothing_is_left_to_chance() -> None:
    rules = replace(RULES, slate=SlateRules(new_share=1.0, new_ms=1 << 50))
    for ranker in (None, additive_ranker(3, varied().related)):
        plain = answers([request_of(4), request_of(5)], ranker, RULES)
        assert all(same(*pair) for pair in zip(plain, answers([request_of(4), request_of(5)], ranker, rules), strict=True))


def test_other_events_draw_other_items() -> None:
    rules = replace(RULES, slate=SlateRules(new_share=0.4, new_exposures=5, new_ms=1))
    request = request_of(4)._replace(query=None)
    lists = [tuple(answers([request._replace(seed=seed)], None, rules)[0].items) for seed in range(30)]
    assert len(set(lists)) > 15
    assert lists == [tuple(answers([request._replace(seed=seed)], None, rules)[0].items) for seed in range(30)]


def test_rates_are_drawn_to_the_shops() -> None:
    found = smoothed(np.array([0.0, 1.0, 30.0, 0.0]), np.array([0.0, 1.0, 100.0, 1000.0]))
    mean = 31 / 1101
    assert found[0] == pytest.approx(mean)
    assert mean < found[1] < 0.1
    assert found[2] > 0.2 and found[3] < mean / 10
    assert smoothed(np.zeros(3), np.zeros(3)).tolist() == [0, 0, 0]
    assert smoothed(np.array([5.0]), np.array([0.0])).tolist() == [1.0], "a dismissal that no exposure is known of"


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 4), min_size=1, max_size=20), st.floats(0, 5), st.floats(0, 5))
def test_a_score_never_falls_by_more_than_the_weights(counts: list[tuple[int, ...]], dismissal: float, back: float) -> None:
    exposures, dismissals, buyers, returns = np.array(counts, np.float64).T
    rules = SlateRules(dismissal_weight=dismissal, return_weight=back)
    found = lowered(rules, exposures, dismissals, buyers, returns)
    assert (found >= 0).all() and (found <= dismissal + back + 1e-9).all()


def test_what_is_dismissed_falls_and_the_probability_stays() -> None:
    ranker, request = additive_ranker(3, varied().related), asked(8)._replace(query=None)
    rules = replace(RULES, top_k=1000, slate=SlateRules(dismissal_weight=1.0))
    plain, lower = (answers([request], ranker, one)[0] for one in (replace(RULES, top_k=1000), rules))
    assert plain.judged is not None and lower.judged is not None
    matrix, popularity, _, _ = varied()
    counted = popularity.outcomes(matrix)
    taken = dict(zip(matrix.ids, smoothed(counted.dismissals, counted.exposures).tolist(), strict=True))
    before = dict(zip(plain.items, plain.judged.tolist(), strict=True))
    for item, (score, probability) in zip(lower.items, lower.judged.tolist(), strict=True):
        if item not in before:
            continue  # another candidate of the most similar
        assert score == pytest.approx(before[item][0] - taken[item], abs=1e-6)
        assert probability == before[item][1]


# Bad input


def tiny(items: list[str], text: str | None = None) -> Shop:
    """A shop of these items, all new, all variants of one product where ``text`` is given."""
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    vectors = np.eye(WIDTH, dtype=np.float32)
    matrix.apply(
        [
            item_record(item, vectors[n % WIDTH], category=None, band=None, title="cup", text=text or f"{n:02x}")
            for n, item in enumerate(items)
        ]
    )
    together = TogetherTable(None, 1000.0)
    together.refresh()
    return Shop(matrix, PopularityTable(None, RULES.popularity_half_life_ms), together, varied().related)


EVERY = (None, additive_ranker(1, shop().related))


@pytest.mark.parametrize("ranker", EVERY)
def test_a_shop_with_a_single_item(ranker: Ranker | None) -> None:
    rules = replace(RULES, slate=ALL)
    request = Request([], [], [], None, [], START_MS, 5)
    answer = answers([request], ranker, rules, tiny(["one"]))[0]
    # A ranker finds it among the new ones; the sum scores everything.
    assert answer.items == ["one"]
    own = request._replace(items=["one"], item_entries=[Entry(1.0, START_MS, PURCHASE)], excluded=["one"])
    assert answers([own], ranker, rules, tiny(["one"]))[0].items == []


@pytest.mark.parametrize("ranker", EVERY)
def test_an_empty_shop(ranker: Ranker | None) -> None:
    request = Request([], [], [], None, [], START_MS, 5)
    assert [one.items for one in answers([request, request], ranker, replace(RULES, slate=ALL), tiny([]))] == [[], []]


@pytest.mark.parametrize("ranker", EVERY)
def test_all_items_are_variants_of_one_product(ranker: Ranker | None) -> None:
    own = tiny([f"v{n}" for n in range(9)], "a")
    request = Request(["v3"], [Entry(1.0, START_MS, PURCHASE)], [], None, ["v3"], START_MS, 5)
    assert len(answers([request], ranker, replace(RULES, slate=ALL), own)[0].items) == 1
    without = replace(RULES, slate=replace(ALL, variants_once=False))
    assert len(answers([request], ranker, without, own)[0].items) == 8


def grouped(own: Shop, groups: dict[str, str | None]) -> Shop:
    """The shop whose items have these groups."""
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    records = [
        item_record(
            item, own.matrix.vectors[row], category=None, band=0, title="lamp", recommendable=True, text=item, group=groups.get(item)
        )
        for item, row in own.matrix.rows.items()
    ]
    matrix.apply(records)
    return own._replace(matrix=matrix)


@pytest.mark.parametrize("ranker", EVERY)
def test_three_sizes_of_one_shirt_are_one_recommendation(ranker: Ranker | None) -> None:
    names = [f"g{n}" for n in range(12)]
    bare = tiny(names)
    own = grouped(bare, {name: f"shirt-{n // 3}" for n, name in enumerate(names[:9])})
    request = Request(["g11"], [Entry(1.0, START_MS, PURCHASE)], [], None, ["g11"], START_MS, 5)
    once = answers([request], ranker, RULES, own)[0]
    each = answers([request], ranker, replace(RULES, top_k=40, slate=SlateRules(groups_once=False)), own)[0]
    wanted, seen = [], set()
    for item in each.items:  # an independent, slow reading: the best of every group, in order
        group = f"shirt-{int(item[1:]) // 3}" if int(item[1:]) < 9 else item
        if group not in seen:
            wanted.append(item)
        seen.add(group)
    assert once.items == wanted and len(wanted) == 5
    assert all(scores(each)[each.items.index(item)] == score for item, score in zip(once.items, scores(once), strict=True))


@settings(max_examples=15)
@given(seeds, st.integers(1, 10), st.integers(1, 60))
def test_many_variants_of_one_product_crowd_nobody_out(asking: int, top_k: int, size: int) -> None:
    """However many variants a product has: the list is the best of each group, in order, as a slow reading finds it."""
    names = {item: n for n, item in enumerate(ITEMS)}
    own = grouped(varied(), {item: f"p{n // size}" if n % 3 else None for item, n in names.items()})
    request = asked(asking)
    once = answers([request], None, replace(RULES, top_k=top_k, threshold=-1.0), own)[0]
    rules = replace(RULES, top_k=len(ITEMS), threshold=-1.0, slate=SlateRules(groups_once=False))
    wanted: dict[str, str] = {}
    for item in answers([request], None, rules, own)[0].items:
        wanted.setdefault(f"p{names[item] // size}" if names[item] % 3 else item, item)
    assert once.items == list(wanted.values())[:top_k]


@pytest.mark.parametrize("ranker", EVERY)
def test_without_groups_nothing_changes(ranker: Ranker | None) -> None:
    own = grouped(tiny([f"g{n}" for n in range(12)], "a"), {})
    request = Request(["g11"], [Entry(1.0, START_MS, PURCHASE)], [], None, ["g11"], START_MS, 5)
    first, second = (answers([request], ranker, replace(RULES, slate=SlateRules(groups_once=once)), own)[0] for once in (True, False))
    assert same(first, second)


def test_groups_come_and_go() -> None:
    own = grouped(tiny(["a", "b", "c"]), {"a": "g", "b": "g"})
    matrix = own.matrix
    assert matrix.has_groups and len(set(matrix.groups.tolist())) == 2
    records = [
        item_record(name, matrix.vectors[matrix.rows[name]], category=None, band=0, title="x", recommendable=True, text=name)
        for name in "ab"
    ]
    matrix.apply(records[:1])
    assert matrix.has_groups and len(set(matrix.groups.tolist())) == 3
    matrix.apply([records[1]._replace(value=None)])
    assert not matrix.has_groups


@pytest.mark.parametrize("ranker", EVERY)
def test_everything_is_dismissed(ranker: Ranker | None) -> None:
    own = tiny([f"d{n}" for n in range(6)])
    for n in range(6):
        own.popularity.put(0, f"d{n}", DecayedCount(1.0, START_MS, n, (1.0,) * 3, START_MS - 1, -1, 0, 50, 50, 0))
    rules = replace(RULES, slate=SlateRules(dismissal_weight=3.0))
    request = Request(["d1"], [Entry(1.0, START_MS, PURCHASE)], [], None, [], START_MS, 5)
    lower, plain = (answers([request], ranker, one, own)[0] for one in (rules, RULES))
    assert lower.items == plain.items, "all fall alike"
    assert np.subtract(scores(plain), scores(lower)) == pytest.approx(np.full(len(plain.items), 3.0), abs=1e-5)
    assert answers([request], ranker, replace(rules, threshold=5.0), own)[0].items == []


@pytest.mark.parametrize("ranker", EVERY)
def test_there_is_no_new_item(ranker: Ranker | None) -> None:
    own = tiny([f"o{n}" for n in range(12)])
    for n in range(12):
        own.popularity.put(0, f"o{n}", DecayedCount(1.0, START_MS, n, (1.0,) * 3, START_MS - 10**9, -1, 0, 5000, 0, 0))
    request = Request(["o1"], [Entry(1.0, START_MS, PURCHASE)], [], None, [], START_MS, 5)
    shown = answers([request], ranker, replace(RULES, slate=SlateRules(new_share=1.0)), own)[0]
    assert shown.items and same(shown, answers([request], ranker, RULES, own)[0])


def test_both_rankings_arrange() -> None:
    assert summed.arrange is learned_ranking.arrange is arrange
