"""Settings of histories, recommendations and feedback."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class ProfileSettings(BaseSettings):
    """Of profile and feedback."""

    # profile
    half_life_days: float = Field(120.0, gt=0, description="Age at which the weight of an event has halved, days.")
    history_size: int = Field(50, ge=1, le=1000, description="Maximum number of history entries per shopper.")
    popularity_half_life_days: float = Field(
        5.0, gt=0, description="Age at which an event counts half for the popularity of an item, days."
    )
    popularity_weight: float = Field(0.2, ge=0, description="Weight of the popularity prior in the score.")
    popularity_events_a_day: int = Field(
        500, ge=1, description="Maximum number of a shopper's events that count for the popularity of items, a day of event time."
    )
    popularity_breadth: int = Field(
        5,
        ge=1,
        description="Number of different items with which a shopper must have had to do, to count in full for the popularity of the next. "
        "1: everybody counts in full at once.",
    )
    unknown_items: int = Field(
        10_000,
        ge=0,
        description="Number of items without a catalogue record whose popularity is counted all the same, in a partition. Beyond it, those "
        "with the oldest events are forgotten.",
    )
    match_weight: float = Field(
        1.0, ge=0, description="Weight in a search's score of the share of the query's words and characters that an item has."
    )
    together_half_life_days: float = Field(
        60.0, gt=0, description="Age at which two items bought together count half, days. A shopper counts once for a pair within it."
    )
    together_weight: float = Field(0.5, ge=0, description="Weight in the score of what is bought together with items of the history.")
    together_shoppers: int = Field(
        3, ge=2, description="Number of shoppers in one partition from which on a pair of items is published and counts."
    )
    threshold: float = Field(0.25, description="Minimum score of a recommended item. Only items above it are recommended.")
    top_k: int = Field(10, ge=1, le=1000, description="Maximum number of items in one recommendation.")
    shopper_max_age_days: float = Field(
        400.0,
        ge=0,
        description="A shopper who did nothing for so long, compared with the newest events, is removed from the states of profile and "
        "feedback, days. 0: never.",
    )
    debounce_s: float = Field(60.0, ge=0, description="Minimum event time between two behaviour recommendations for a shopper, seconds.")
    recommended_cooldown_s: float = Field(
        3600.0,
        ge=0,
        description="Event time in which an item is not recommended again to the same shopper, seconds.",
    )
    bought_cooldown_days: float = Field(
        90.0,
        ge=0,
        description="Event time in which a bought item is not recommended to its buyer, days.",
    )
    search_blend: float = Field(0.7, ge=0, le=1, description="Weight of the query in search recommendations. The profile has the rest.")
    exact_items: int = Field(
        50_000,
        ge=0,
        description="Maximum number of items for exact search. Larger catalogues are searched by a scan with small integers (recall at "
        "least 0.98).",
    )
    dismissal_weight: float = Field(
        0.0, ge=0, description="Weight by which the predicted share of an item's exposures that end in a dismissal lowers its score."
    )
    return_weight: float = Field(
        0.0, ge=0, description="Weight by which the predicted share of an item's buyers who return it lowers its score."
    )
    diversity_weight: float = Field(
        0.0,
        ge=0,
        description="Weight by which an item's largest similarity (cosine) to an item above it in the list lowers its place, not its "
        "score. 0: lists are in order of the scores.",
    )
    variants_once: bool = Field(
        False, description="Whether a list has at most one of the items with the same text (title, category, brand, description)."
    )
    groups_once: bool = Field(
        True, description="Whether a list has at most one of the items with the same `group_id` (the variants of one product)."
    )
    new_items_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the places of lists that new items have, where any is above the threshold. Chance chooses the places and the "
        "items.",
    )
    new_items_exposures: int = Field(30, ge=1, description="Number of impressions up to which an item is new.")
    new_items_days: float = Field(7.0, gt=0, description="Time after its first event in which an item is new, days.")
    reasons_max: int = Field(3, ge=0, description="Maximum number of reasons per item.")

    feature_log_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the events after which a fitted ranker's candidates and their features are logged to `ranking.features`: "
        "what it is trained and judged by. 0: none.",
    )

    # feedback
    attribution_window_s: float = Field(1800.0, gt=0, description="Event time in which a reaction counts for a recommendation, seconds.")
    idle_close_s: float = Field(
        300.0,
        gt=0,
        description="Real time without events after which the due windows of a partition are closed by the wall clock, seconds.",
    )
    feedback_records: Literal["item", "recommendation"] = Field(
        "item",
        description="What one record of `feedback` holds: the outcome of one recommended item, or of all items of a recommendation (the "
        "others in `others`). The latter is a fifth of the records, and less work for the broker and every reader.",
    )
    training_history_size: int = Field(20, ge=1, description="Maximum number of history entries in a training pair.")
