"""A shop whose shoppers keep to one colour, as training pairs, items, and a model that can be trained on them in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streams.ranking.learned.features import FEATURES, schema
from streams.ranking.serving_params import ServingParams
from streams.serde.records import BoardPosition, ConsentDecision, FeatureLog, TrainingPair
from streams.training.candidate import JudgeRule
from streams.training.cases import SplitRule, old_slice
from streams.training.evaluation.gate import GateRule
from streams.training.evaluation_data import ItemFacts
from streams.training.round import Material
from streams.training.rules import RoundRules
from tests.support.rules import profile_rules
from tests.support.tiny_bert import KINDS, WORDS, tiny_bert

SERVING = ServingParams(120.0, 0.0, 0.3)

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ITEMS = len(WORDS)


def pair(
    number: int,
    user: str,
    item: str,
    *,
    at_ms: int = START_MS,
    history: list[str] | None = None,
    outcome: str = "purchase",
    rank: int | None = None,
) -> TrainingPair:
    """History as items of the days before, the last one yesterday."""
    rewards = {"purchase": 1.0, "click": 0.2, "shown": 0.0, "dismiss": -0.5}
    past = history or []
    return {
        "pair_id": f"{number:032x}",
        "pseudonym": user,
        "history": [
            {"kind": "item", "ref": ref, "event_type": "purchase", "age_ms": (len(past) - place) * DAY_MS} for place, ref in enumerate(past)
        ],
        "item_id": item,
        "outcome": outcome,
        "reward": rewards[outcome],
        "recommendation_id": None if rank is None else "r",
        "rank": rank,
        "model_version": None,
        "occurred_at": at_ms,
    }


def shop_items(seed: int = 2) -> dict[str, ItemFacts]:
    """Only behaviour tells an item's kind, which is its number modulo six; its text has a word of its own."""
    random = np.random.default_rng(seed)
    return {f"i{n}": ItemFacts(f"{WORDS[n]} word{random.integers(60)} word{random.integers(60)}", f"c{n % 3}") for n in range(ITEMS)}


def shop_pairs(users: int = 120, visits: int = 8, seed: int = 3) -> list[TrainingPair]:
    """Each shopper buys items of one kind, a new one every few days."""
    random = np.random.default_rng(seed)
    found = []
    for user in range(users):
        own = [f"i{n}" for n in range(user % KINDS, ITEMS, KINDS)]
        bought = [own[place] for place in random.permutation(len(own))[: visits + 1]]
        for visit in range(1, len(bought)):
            at_ms = START_MS + visit * 5 * DAY_MS + int(random.integers(4 * DAY_MS))
            found.append(pair(user * 100 + visit, f"k1.u{user}", bought[visit], at_ms=at_ms, history=bought[:visit]))
    return found


def model(folder: Path) -> Path:
    return tiny_bert(folder)


def quick_rules(*, steps: int = 60, min_gain: float = 0.0, **tuned: float) -> RoundRules:
    """Seconds; what the gate asks for can be met by what the tiny model learns."""
    gate = GateRule(
        min_cases=20, min_users=10, coverage_tolerance=1.0, long_tail_tolerance=1.0, segment_tolerance=10.0, least_gain=min_gain
    )
    return RoundRules(
        split=SplitRule(profile_rules()),
        judge=JudgeRule(gate=gate),
        minutes=5.0,
        batch_size=64,
        device="cpu",
        precision="fp32",
        learning_rate=5e-3,
        drift_weight=0.0,
        tuned={"steps": steps, "augment": 0.0, **tuned},
    )


def feedback(
    recommendation: str, version: str, reward: float, rank: int = 0, outcome: str = "purchase", user: str = "k1.u"
) -> dict[str, Any]:
    return {
        "feedback_id": f"{recommendation}{rank}",
        "recommendation_id": recommendation,
        "pseudonym": user,
        "item_id": f"i{rank}",
        "rank": rank,
        "policy": "behaviour",
        "model_version": version,
        "outcome": outcome,
        "reward": reward,
        "shown": outcome != "ignored",
        "delay_ms": None,
        "created_at": 0,
        "closed_at": 0,
        "others": [],
    }


def feature_log(number: int, *, at_ms: int = START_MS, user: str = "k1.u", version: str = "v", shown: bool = True) -> FeatureLog:
    """Of all items; the levels of the first feature fall with their numbers, and the first three were recommended."""
    levels = np.full((ITEMS, len(FEATURES)), 7, np.uint8)
    levels[:, 0] = np.arange(ITEMS)[::-1]
    return FeatureLog(
        log_id=f"{number:032x}",
        pseudonym=user,
        recommendation_id=f"r{number}" if shown else None,
        policy="behaviour" if shown else "none",
        source_offset=number,
        created_at=at_ms,
        model_version=version,
        features=schema(),
        items=[f"i{n}" for n in range(ITEMS)],
        levels=levels.tobytes(),
        shown=[0, 1, 2] if shown else [],
        boards=[BoardPosition(board="popularity", next=[3, 4])],
    )


def material() -> Material:
    pairs = shop_pairs()
    return Material(pairs=pairs, items=shop_items(), serving=SERVING, propensity={}, old=old_slice(pairs))


def decision(pseudonym: str, allowed: bool, *, purpose: str = "training", at_ms: int = START_MS) -> ConsentDecision:
    return {
        "pseudonym": pseudonym,
        "purpose": purpose,
        "allowed": allowed,
        "decided_at": at_ms,
        "policy_version": None,
        "source": None,
        "received_at": at_ms,
    }
