"""``backtest --finetune``: runs a round of the trainer on the pairs of the events before the cutoff."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.errors import RecordError
from streams.serde.records import Item, TrainingPair
from streams.settings import Settings
from streams.stages.catalogue.validate import band_of, item_text, valid_item
from streams.stages.feedback.rules import FeedbackRules
from streams.training.cases import old_slice
from streams.training.evaluation_data import ItemFacts
from streams.training.round import Judged, Material, run_round
from streams.training.rules import RoundRules, fitted_by_settings

if TYPE_CHECKING:
    from encoders.finetune.progress import OnProgress

_CONFIDENCE, _LONG_TAIL = 0.8, 0.25
"""Rules of the offline gate. They are weaker than in a shop, because a backtest serves nobody. How they were chosen: docs/trainer.md."""
OFFLINE_GATE = f"offline gate: {_CONFIDENCE:.0%} interval, the long tail may lose {_LONG_TAIL:.0%} of its share"
_EVER_MS = 1 << 60
_HISTORY = 400
"""Events before a visit, of which a profile keeps what counts most."""


def pair_rules(settings: Settings) -> FeedbackRules:
    """The feedback stage's, with longer histories: here nothing has to be kept small."""
    return replace(FeedbackRules.from_settings(settings), history_size=max(_HISTORY, settings.training_history_size))


def item_facts(items: Iterable[Mapping[str, Any]], settings: Settings) -> dict[str, ItemFacts]:
    """What the catalogue stage would encode of each item that it would accept."""
    found = {}
    for raw in items:
        try:
            item: Item = valid_item(str(raw["item_id"]).encode(), raw)
        except RecordError:
            continue  # the catalogue stage refuses and counts it
        text = item_text(item, settings.item_text_characters, settings.item_language)
        found[item["item_id"]] = ItemFacts(text, item["category"] or None, item["in_stock"] and not item["blocked"], band_of(item))
    return found


def round_rules(settings: Settings, minutes: float, *, include_seen: bool) -> RoundRules:
    """The trainer's, where nothing that was ever bought is a target unless it may be recommended again; see docs/trainer.md."""
    rules = RoundRules.from_settings(settings)
    profile = replace(rules.split.profile, bought_cooldown_ms=0 if include_seen else _EVER_MS)
    gate = replace(
        rules.judge.gate, metric="ndcg", confidence=_CONFIDENCE, long_tail_tolerance=max(_LONG_TAIL, rules.judge.gate.long_tail_tolerance)
    )
    return replace(rules, split=rules.split._replace(profile=profile), judge=replace(rules.judge, gate=gate), minutes=minutes)


def finetune_before(
    pairs: Sequence[TrainingPair],
    items: Mapping[str, ItemFacts],
    base: Path,
    rules: RoundRules,
    settings: Settings,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> Judged:
    """The candidate in ``folder/model`` and what the gate says of it. Raises as ``run_round``."""
    old = old_slice(pairs) if pairs else None
    material = Material(pairs=pairs, items=items, serving=fitted_by_settings(settings), propensity={}, old=old)
    return run_round(folder, base, material, rules, on_progress)
