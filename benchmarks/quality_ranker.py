"""The ranker's part of the quality benchmark: what its candidates hold, what each group of features is worth, and a peer.

Everything is fitted to what lies before a cut, and judged on the cut's shoppers with the same candidates. So the differences are those of
the features and of the model.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import metarank
from benchmarks.fitted import Floats, Told, judge, judged, learned, training
from benchmarks.retail import Purchases, cut_at
from benchmarks.tune import tune
from streams.ranking.learned.features import FEATURES
from streams.ranking.learned.related import nothing_related
from streams.training.evaluation.bootstrap import interval, paired
from streams.training.learned.fit import ADDITIVE, INTERACTING, RankerRule, fitted_to
from streams.training.learned.lists import Lists
from streams.training.learned.past import VISIT_MS

GROUPS = tuple(dict.fromkeys(feature.group for feature in FEATURES))
OURS = "ranker, additive"
PEER, CHOSEN = "Metarank's LambdaMART, documented defaults", "Metarank's LambdaMART, chosen at validation"
PARTS = ("recall", "ablation", "peer")
_RULE = RankerRule(threads=1)


class AtCut(NamedTuple):
    """What rankers are fitted to, and what they are judged on."""

    made: list[Told]
    test: Told


def at_cut(data: Path, purchases: Purchases, quantile: float, kept: Path | None) -> AtCut:
    """The lists at a cut, made in minutes; with a folder ``kept`` those of an earlier run are used again."""
    path = None if kept is None else kept / f"lists-{quantile}.pickle"
    if path is not None and path.exists():
        found: AtCut = pickle.loads(path.read_bytes())  # noqa: S301 - written by the lines below
        return found
    cut = cut_at(purchases, quantile)
    shop = learned(data, purchases, cut)
    made, related = training(shop, lambda step: print(f"{quantile:.0%} cut: {step}", flush=True))
    found = AtCut(made, judged(shop, related, cut, purchases))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
    return found


def measure(
    data: Path, purchases: Purchases, validation: float, test: float, parts: Sequence[str], kept: Path | None = None
) -> dict[str, Any]:
    """Each part at both cuts. The peer's settings are chosen at the validation cut, nothing at the other."""
    lists = {"validation": at_cut(data, purchases, validation, kept), "test": at_cut(data, purchases, test, kept)}
    result: dict[str, Any] = {"cuts": {"validation": validation, "test": test}, "k": 10}
    result["users"] = {name: len(one.test.wanted) for name, one in lists.items()}
    if "recall" in parts:
        result["recall"] = {name: one.test.lists.found for name, one in lists.items()}
        result["candidates"] = {name: float(one.test.lists.sizes.mean()) for name, one in lists.items()}
    settings = {PEER: metarank.SETTINGS}
    known = metarank.facts(data, purchases) if "peer" in parts else None
    if known is not None:
        settings[CHOSEN] = chosen(lists["validation"], known)
        result["peer"] = {"features": metarank.FEATURES, "settings": settings, "tried": metarank.GRID}
    for name, one in lists.items():
        smooth = smoothness(one)
        result.setdefault("smooth", {})[name] = smooth
        values = rankers(one, smooth)
        if known is not None:
            values |= {label: peer(one, known, own) for label, own in settings.items()}
        result.setdefault("rankers", {})[name] = beside(values, OURS, one)
        if "ablation" in parts:
            without = {OURS: values[OURS]} | {group: scored(one, ADDITIVE, {group}, smooth) for group in GROUPS}
            result.setdefault("ablation", {})[name] = beside(without, OURS, one)
    return result


def smoothness(one: AtCut) -> float:
    """How smooth the additive ranker's curves are: what is best at the last moment, which the models are not fitted to, as in a fit."""
    last = one.made[-1]
    before = [some for told in one.made[:-1] if (some := told.lists.chosen(told.lists.at_ms + VISIT_MS < last.at_ms)) is not None]

    def value(smooth: float) -> float:
        scores = fitted_to(before, ADDITIVE, _RULE, nothing_related(), smooth).scores(last.lists.levels)
        return float(judge(last.lists, scores)[1].mean())

    return max(sorted(_RULE.additive.smooth, reverse=True), key=value)


def rankers(one: AtCut, smooth: float) -> dict[str, tuple[Floats, Floats]]:
    """Hit and NDCG [shoppers] of the hand-set sum and of both shapes of the product's ranker."""
    return {
        "hand-set sum": judge(one.test.lists, one.test.lists.summed.astype(np.float64)),
        OURS: scored(one, ADDITIVE, set(), smooth),
        "ranker, with interactions": scored(one, INTERACTING, set(), smooth),
    }


def scored(one: AtCut, shape: str, gone: set[str], smooth: float) -> tuple[Floats, Floats]:
    """Of a ranker that is fitted without some groups of features: these have one value everywhere, so no tree asks for them."""
    begun = time.perf_counter()
    ranker = fitted_to([without(told.lists, gone) for told in one.made], shape, _RULE, nothing_related(), smooth)
    hit, ndcg = judge(one.test.lists, ranker.scores(without(one.test.lists, gone).levels))
    name = f"{shape} without {', '.join(sorted(gone)) or 'nothing'}"
    print(f"{name}: {hit.mean():.4f} / {ndcg.mean():.4f}, {time.perf_counter() - begun:.0f} s", flush=True)
    return hit, ndcg


def without(lists: Lists, gone: set[str]) -> Lists:
    """The same lists, level 0 for every feature of these groups. Raises ValueError for a group that there is not."""
    if unknown := gone - set(GROUPS):
        raise ValueError(f"no such group of features: {', '.join(sorted(unknown))}")
    levels = lists.levels.copy()
    levels[:, [place for place, feature in enumerate(FEATURES) if feature.group in gone]] = 0
    return replace(lists, levels=levels)


def chosen(one: AtCut, known: metarank.Facts) -> dict[str, Any]:
    """The peer's settings that are best at the validation cut, one after the other from the documented defaults."""
    tables = [metarank.table(told, known) for told in one.made]
    values = metarank.table(one.test, known)

    def value(settings: dict[str, Any]) -> float:
        hit, ndcg = judge(one.test.lists, metarank.fitted(one.made, tables, settings).predict(values))
        print(f"Metarank's {settings}: {hit.mean():.4f} / {ndcg.mean():.4f}", flush=True)
        return float(hit.mean() + ndcg.mean())

    return tune(value, metarank.SETTINGS, metarank.GRID)


def peer(one: AtCut, known: metarank.Facts, settings: dict[str, Any]) -> tuple[Floats, Floats]:
    """Hit and NDCG [shoppers]."""
    model = metarank.fitted(one.made, [metarank.table(told, known) for told in one.made], settings)
    return judge(one.test.lists, model.predict(metarank.table(one.test, known)))


def beside(values: dict[str, tuple[Floats, Floats]], reference: str, one: AtCut) -> dict[str, Any]:
    """Means with intervals over shoppers, and each one's paired difference from the reference."""
    users = [wanted.shopper for wanted in one.test.wanted]
    found: dict[str, Any] = {}
    for name, own in values.items():
        entry = found[name] = {}
        for metric, mine, theirs in zip(("hr", "ndcg"), own, values[reference], strict=True):
            entry[metric] = interval(mine, users)._asdict()
            entry[f"{metric}_less_{reference}"] = paired(mine, theirs, users)._asdict()
    return found
