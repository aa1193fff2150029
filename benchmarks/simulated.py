"""Ways of ranking in the simulated shop, on the same shoppers and the same past: ``python -m benchmarks.simulated``.

Each seed is a shop that warms up under the hand-set sum. A ranker is fitted to that shop's own training pairs. Then the shop is branched:
each arm serves the same shoppers from the same moment on, while new items are launched. Seeds from 100 on are for choosing weights.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import click
import numpy as np

from benchmarks.harness import save
from encoders.hashing import HashingEncoder
from streams.engine.ports import FloatArray
from streams.ranking.learned.model import Ranker
from streams.ranking.rules import ProfileRules
from streams.ranking.slate.rules import SlateRules
from streams.serde.codec import local_codecs
from streams.serde.records import Recommendation
from streams.settings import Settings
from streams.simulator.memory import MemoryShop
from streams.simulator.shop import Emission, Shop
from streams.simulator.shopper import Shopper, buys, clicks, looks_at
from streams.training.learned.fit import RankerRule, fit_ranker
from streams.training.learned.past import PastShop

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = 1_700_000_000_000
TICK_MS = HOUR_MS
SESSION_EVERY_MS = 14 * HOUR_MS
PILOT_MS = 24 * HOUR_MS
EXPOSURES = 10
_T_95 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 19: 2.093}
"""Of Student's distribution by degrees of freedom."""


@dataclass(frozen=True)
class Size:
    """Of a shop and its run."""

    items: int = 400
    launched: int = 24
    """Beside them, during the arms' first days."""
    shoppers: int = 100
    warm_days: int = 10
    launch_days: int = 1
    horizon_days: int = 4
    """That each launched item is followed; the arms run for both."""


@dataclass(frozen=True)
class Arm:
    """A way of ranking."""

    slate: SlateRules = field(default_factory=SlateRules)
    learned: bool = True


DIVERSITY, NEW_SHARE = 0.1, 0.1
COUNTING = SlateRules(new_share=1e-9)
"""Exposures are counted, and no place is drawn: the past of a shop in which what is new is known."""
ARMS = {
    "hand-set sum": Arm(learned=False),
    "learned": Arm(),
    "learned, diverse": Arm(SlateRules(diversity_weight=DIVERSITY, variants_once=True)),
    "learned, new items": Arm(SlateRules(new_share=NEW_SHARE)),
    "learned, twice as many": Arm(SlateRules(new_share=2 * NEW_SHARE)),
    "learned, all": Arm(SlateRules(diversity_weight=DIVERSITY, variants_once=True, new_share=NEW_SHARE)),
}


class RememberingEncoder:
    """Encodes each text once, for all shops and arms."""

    def __init__(self, encoder: Any) -> None:
        self.version, self.dimension = encoder.version, encoder.dimension
        self._encoder, self._known = encoder, dict[str, FloatArray]()

    async def encode_many(self, texts: Sequence[str]) -> FloatArray:
        missing = list(dict.fromkeys(text for text in texts if text not in self._known))
        if missing:
            self._known.update(zip(missing, self._encoder.encode(missing), strict=True))
        return np.stack([self._known[text] for text in texts])


class Meter:
    """What the treated shoppers of one arm see and do."""

    def __init__(self, run: MemoryShop) -> None:
        self._run, self._shop = run, run.shop
        self._by_user: dict[str, Shopper] = {shopper.user_id: shopper for shopper in run.shop.shoppers}
        self._treated = [shopper for shopper in run.shop.shoppers if not shopper.control]
        self._sessions, self._purchases = self._totals()
        self._by_lists = 0
        self._expected = 0.0
        self._kinds: list[int] = []
        self._lengths: list[int] = []
        self.exposed: Counter[str] = Counter()
        self.launched_ms: dict[str, int] = {}
        self._tenth_ms: dict[str, int] = {}
        run.deliver, run.on_event = self.deliver, self.saw

    def _totals(self) -> tuple[int, int]:
        return sum(s.sessions for s in self._treated), sum(s.purchases for s in self._treated)

    def deliver(self, recommendation: Recommendation, user_id: str, now_ms: int) -> None:
        """Show it, and count what it is expected to sell by the shopper's own probabilities."""
        shopper = self._by_user[user_id]
        if not shopper.control:
            items = [self._shop.by_id[entry["item_id"]] for entry in recommendation["items"]]
            for position, item in enumerate(items):
                wants = shopper.affinity(item)
                self._expected += looks_at(position) * clicks(wants) * buys(wants)
            self._kinds.append(len({item.traits.kind for item in items}))
            self._lengths.append(len(items))
        before = shopper.purchases
        self._shop.receive(recommendation, user_id, now_ms)
        self._by_lists += shopper.purchases - before

    def saw(self, emission: Emission) -> None:
        """An event was sent."""
        value = emission.value
        if isinstance(value, bytes) or emission.expected is not None or emission.duplicate or value["event_type"] != "impression":
            return
        item_id = value["item_id"]
        self.exposed[item_id] += 1
        if item_id in self.launched_ms and self.exposed[item_id] == EXPOSURES:
            self._tenth_ms[item_id] = self._run.now_ms

    def result(self, horizon_ms: int) -> dict[str, float]:
        """All figures of the arm."""
        sessions, purchases = (now - then for now, then in zip(self._totals(), (self._sessions, self._purchases), strict=True))
        waits = [min(horizon_ms, self._tenth_ms.get(item, 1 << 60) - at) / HOUR_MS for item, at in self.launched_ms.items()]
        return {
            "sessions": sessions,
            "purchases": purchases / sessions,
            # The same with what lists sell in place of what they happened to sell: the chance of the simulated decisions is taken out.
            "purchases_expected": (purchases - self._by_lists + self._expected) / sessions,
            "hours_to_ten_exposures": statistics.fmean(waits),
            "reached_ten_exposures": statistics.fmean(wait < horizon_ms / HOUR_MS for wait in waits),
            "new_items_share_of_exposures": sum(self.exposed[item] for item in self.launched_ms) / max(1, self.exposed.total()),
            "kinds_in_a_list": statistics.fmean(self._kinds),
            "items_in_a_list": statistics.fmean(self._lengths),
            "items_exposed": len(self.exposed),
        }


def warmed(seed: int, size: Size, settings: Settings, encoder: RememberingEncoder) -> MemoryShop:
    """A shop with a past, ranked by the hand-set sum."""
    shop = Shop(seed, size.items + size.launched, size.shoppers, START_MS, SESSION_EVERY_MS, size.launched)
    rules = replace(ProfileRules.from_settings(settings), slate=COUNTING)
    run = MemoryShop(shop, settings, local_codecs(), encoder, START_MS, rules=rules, learns=True)
    run.publish(shop.items)
    run.run(START_MS + size.warm_days * DAY_MS, TICK_MS)
    return run


def fitted(run: MemoryShop) -> Ranker | None:
    """A ranker fitted to the shop's own past."""
    past = PastShop(run.pairs, run.rules, exclude_seen=False)
    found = fit_ranker(past, run.matrix, run.rules, RankerRule(threads=1), queries=run.query_vectors(past.texts))
    return None if found is None else found.ranker


def scores_served(run: MemoryShop, ranker: Ranker | None) -> tuple[FloatArray, int]:
    """Scores of all that full lists hold in the shop's next hours, and how many lists these are. The shop itself stays where it is."""
    own = run.branch(replace(run.rules, threshold=-1e9), ranker)
    scores: list[float] = []
    lists = 0

    def keep(recommendation: Recommendation, _user_id: str, _now_ms: int) -> None:
        nonlocal lists
        lists += 1
        scores.extend(entry["score"] for entry in recommendation["items"])

    own.deliver = keep
    own.run(own.now_ms + PILOT_MS, TICK_MS)
    return np.array(scores, np.float32), lists


def threshold_for(ranker: Ranker, run: MemoryShop) -> float:
    """The threshold with which a ranker's lists are as long as those of the hand-set sum: as a round sets it."""
    of_sum, sum_lists = scores_served(run, None)
    of_ranker, lists = scores_served(run, ranker)
    volume = float((of_sum > run.rules.threshold).sum()) / sum_lists
    ordered = np.sort(of_ranker)[::-1]
    allowed = int(volume * lists)
    return float(ordered[allowed]) if allowed < len(ordered) else float(np.nextafter(ordered[-1], -np.inf))


def measure(run: MemoryShop, arm: Arm, ranker: Ranker | None, size: Size, rules: ProfileRules) -> dict[str, float]:
    """One arm from the shop's present on. Equal parts of the new items are launched every six hours."""
    own = run.branch(replace(rules, slate=arm.slate), ranker if arm.learned else None)
    meter = Meter(own)
    steps = size.launch_days * 4
    for step in range((size.launch_days + size.horizon_days) * 4):
        if step < steps:
            launched = own.shop.launch(size.launched * (step + 1) // steps - size.launched * step // steps)
            own.publish(launched)
            meter.launched_ms.update(dict.fromkeys((item.item_id for item in launched), own.now_ms))
        own.run(own.now_ms + 6 * HOUR_MS, TICK_MS)
    return meter.result(size.horizon_days * DAY_MS)


def compared(runs: Mapping[str, Sequence[Mapping[str, float]]], ours: str, base: str, metric: str) -> dict[str, float]:
    """Mean ratio of the arms less 1, seed by seed, with its 95% interval (Student)."""
    ratios = [own[metric] / other[metric] - 1 for own, other in zip(runs[ours], runs[base], strict=True)]
    half = _T_95.get(len(ratios) - 1, 1.96) * statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    mean = statistics.fmean(ratios)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def summary(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Means, and the differences between arms that the targets are about."""
    names = list(runs)
    metrics = [metric for metric in runs[names[0]][0] if metric not in ("seed", "sessions")]
    means = {name: {metric: statistics.fmean(one[metric] for one in own) for metric in metrics} for name, own in runs.items()}
    pairs = [(ours, base) for base, ours in combinations(names, 2) if base in ("hand-set sum", "learned")]
    differences = {f"{ours} / {base}": {metric: compared(runs, ours, base, metric) for metric in metrics} for ours, base in pairs}
    return {"means": means, "differences": differences}


def run_seeds(
    seeds: Sequence[int], size: Size, arms: Mapping[str, Arm], encoder: RememberingEncoder, say: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """All arms of all seeds. Raises RuntimeError where a shop's past is too short for a ranker."""
    settings = Settings(feedback_records="recommendation")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for seed in seeds:
        begun = time.perf_counter()
        shop = warmed(seed, size, settings, encoder)
        ranker = fitted(shop)
        if ranker is None:
            raise RuntimeError(f"the past of shop {seed} is too short to fit a ranker to; give it more days or shoppers")
        learned = replace(shop.rules, threshold=threshold_for(ranker, shop))
        say(f"seed {seed}: warm {time.perf_counter() - begun:.0f} s; threshold {learned.threshold:.3f}; {ranker.fitted}")
        for name, arm in arms.items():
            runs[name].append({"seed": seed, **measure(shop, arm, ranker, size, learned if arm.learned else shop.rules)})
            say(f"  {name}: " + ", ".join(f"{metric} {value:.4g}" for metric, value in runs[name][-1].items()))
        say(f"  {time.perf_counter() - begun:.0f} s")
    return runs


@click.command()
@click.option("--first", default=1, show_default=True, help="First seed. Those from 100 on are for choosing weights.")
@click.option("--seeds", default=10, show_default=True, help="How many.")
@click.option("--model", default="hashing", show_default=True, help="Encoder: hashing, bundled, bundled-en ...")
def main(first: int, seeds: int, model: str) -> None:
    """Measure and save."""
    encoder: Any = HashingEncoder(256)
    if model != "hashing":
        from encoders import load_encoder

        encoder = load_encoder(model, device="cpu", precision="auto", token_budget=2048)
    size = Size()
    runs = run_seeds(range(first, first + seeds), size, ARMS, RememberingEncoder(encoder), lambda line: print(line, flush=True))
    result = {"model": model, "size": vars(size), "seeds": seeds, **summary(runs), "runs": runs}
    print(f"wrote {save('simulated', result)}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
