"""``backtest --finetune`` on a small shop: what is learnt, what the gate decides, and that nothing after the cutoff is known."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.backtest.finetune import pair_rules
from streams.backtest.pairs import PairMaker
from streams.settings import Settings
from tests.support.deployment import Deployment
from tests.support.profile_harness import event
from tests.support.tiny_bert import KINDS
from tests.support.trainer_data import START_MS, model, shop_items, shop_pairs

CUTOFF_MS = START_MS + 42 * 86_400_000
GATE = {"TRAINER_GATE_CASES": "20", "TRAINER_GATE_USERS": "10", "TRAINER_GATE_TOLERANCE": "1", "TRAINER_BATCH_SIZE": "64"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Purchases of one kind a shopper; what is bought after the cutoff is of the next kind."""
    folder = tmp_path_factory.mktemp("shop")
    model(folder / "model")
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("item", "title"))
        writer.writerows((item, facts.text) for item, facts in shop_items().items())
    with (folder / "events.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("ts", "user", "event_type", "item", "qty"))
        pairs = sorted(shop_pairs(users=200), key=lambda pair: pair["occurred_at"])
        for user, first in {pair["pseudonym"]: pair["history"][0]["ref"] for pair in pairs}.items():
            writer.writerow((moment(START_MS), user, "purchase", first, 1))
        for pair in pairs:
            writer.writerow((moment(pair["occurred_at"]), pair["pseudonym"], "purchase", pair["item_id"], 1))
    return folder


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat()


def backtest(shop: Path, out: str, *more: str, **changes: str) -> tuple[str, dict[str, list[str]]]:
    """What it says, and each user's items."""
    base = {"MODEL": str(shop / "model"), "POPULARITY_WEIGHT": "0.001", "DEVICE": "cpu", "PRECISION": "fp32"}
    own = {f"VEILSTREAM_{name}": value for name, value in {**base, **changes}.items()}
    here = Deployment(shop, "127.0.0.1:1", "x.", {**own, "OMP_NUM_THREADS": "1"})
    arguments = ("backtest", "--items", "items.csv", "--events", "events.csv", "--cutoff", moment(CUTOFF_MS), "--top", "5", "--out", out)
    done = here.command(*arguments, *more)
    found = defaultdict(list)
    with (shop / out).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["user"]].append(row["item"])
    return done.stdout, dict(found)


def own_kind(found: dict[str, list[str]]) -> float:
    """Share of the recommended items that are of the shopper's kind."""
    same = [int(item[1:]) % KINDS == int(user.removeprefix("k1.u")) % KINDS for user, items in found.items() for item in items]
    return sum(same) / len(same)


@pytest.mark.slow
def test_what_the_gate_lets_pass_is_used(shop: Path) -> None:
    # Without a ranker, which would rank by what else it knows of the shop: here the encoder is looked at.
    _, before = backtest(shop, "before.csv", "--no-fit")
    printed, after = backtest(shop, "after.csv", "--no-fit", "--finetune", "0.1", **GATE)
    assert "the fine-tuned model is used" in printed and "gains" in printed
    assert set(after) == set(before)
    # Each shopper has one or two items of the kind left that she does not have.
    assert own_kind(after) > 2 * own_kind(before)


@pytest.mark.slow
def test_what_the_gate_refuses_is_not(shop: Path) -> None:
    _, before = backtest(shop, "before.csv")
    printed, after = backtest(shop, "refused.csv", "--finetune", "0.02", **{**GATE, "TRAINER_GATE_CASES": "100000"})
    assert "the unchanged model is used: too few cases" in printed
    assert after == before


def test_too_little_to_learn_from_is_said(shop: Path) -> None:
    """Before the cutoff there is one purchase a shopper: no history leads to anything."""
    arguments = ("--cutoff", moment(START_MS + 1000), "--finetune", "0.02")
    printed, found = backtest(shop, "little.csv", *arguments, **GATE)
    assert "not fine-tuned, the result uses the unchanged model" in printed
    assert len(found) == 200


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["view", "click", "purchase", "search", "dismiss"])), max_size=25))
@settings(deadline=None)
def test_pairs_are_what_was_turned_to_after_what(steps: list[tuple[str, str]]) -> None:
    """Every positive interaction is one pair; a visit's first one has all that came before it as its history."""
    events = [
        event(n, user, kind, None if kind == "search" else f"i{n}", at_s=n * 7200, query="tea" if kind == "search" else None)
        for n, (user, kind) in enumerate(steps)
    ]
    maker = PairMaker(pair_rules(Settings()))
    maker.add(events[:7])  # type: ignore[arg-type]
    maker.add([*events[5:7], *events[7:]])  # type: ignore[arg-type]
    pairs = {pair["item_id"]: pair for pair in maker.pairs()}
    assert set(pairs) == {f"i{n}" for n, (_, kind) in enumerate(steps) if kind in ("click", "purchase")}
    for n, (user, kind) in enumerate(steps):
        if kind in ("click", "purchase"):
            past = [
                "tea" if before == "search" else f"i{m}"
                for m, (other, before) in enumerate(steps[:n])
                if other == user and before in ("view", "click", "purchase", "search")
            ]
            assert [part["ref"] for part in pairs[f"i{n}"]["history"]] == past
