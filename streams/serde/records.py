"""Types of the values of all topics, as the codecs read and write them: plain dicts, times as integer milliseconds (UTC)."""

from __future__ import annotations

from typing import TypedDict


class BehaviourEvent(TypedDict):
    user_id: str
    event_type: str
    event_id: str | None
    occurred_at: int | float | str | None
    item_id: str | None
    query: str | None
    quantity: float | None
    price: float | None
    currency: str | None
    recommendation_id: str | None
    position: int | None
    session_id: str | None
    region: str | None
    user_agent: str | None
    anonymous_id: str | None
    consent: bool | None


class CleanEvent(TypedDict):
    event_id: str
    pseudonym: str
    sealed_id: bytes
    event_type: str
    occurred_at: int
    item_id: str | None
    query: str | None
    quantity: int
    price_band: int | None
    currency: str | None
    country: str | None
    recommendation_id: str | None
    position: int | None
    session: str | None
    flags: list[str]
    linked_to: str | None
    refused: list[str]
    request_id: str | None
    move: bytes | None


MOVE = "move"
"""The type of the event that says, sealed, that a shopper has another pseudonym from there on."""
IDENTIFY = "identify"
"""The type of the event that links an anonymous shopper to a user."""
CONSENT = "consent"
"""The type of the event that says what a shopper refuses from there on."""
ERASE = "erase"
"""The type of the event at which everything is forgotten that is known of a shopper, or of her and one item."""
NOBODY = "nobody."
"""What the pseudonym of an event begins with that has no shopper: it counts for popularity, and for nothing else."""


def has_shopper(event: CleanEvent) -> bool:
    """Whether an event is of somebody: of a shopper with a history, who may get recommendations."""
    return not event["pseudonym"].startswith(NOBODY)


class DeadLetter(TypedDict):
    dead_letter_id: str
    reason: str
    detail: str
    stage: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp: int
    schema: str | None
    attempt: int
    redacted_fields: list[str]
    sealed_original: bytes | None
    rejected_at: int


class Item(TypedDict):
    item_id: str
    title: str
    category: str | None
    brand: str | None
    description: str | None
    price: float | None
    currency: str | None
    in_stock: bool
    blocked: bool
    tags: list[str]
    updated_at: int | None
    group_id: str | None
    titles: dict[str, str]
    image_links: list[str]


class ItemVector(TypedDict):
    item_id: str
    model_version: str
    vector: bytes
    text_hash: str
    recommendable: bool
    category: str | None
    price_band: int | None
    encoded_at: int
    terms: bytes
    group_id: str | None


class Popularity(TypedDict):
    item_id: str
    count: float
    as_of: int
    source_offset: int
    recent: float
    fortnight: float
    season: float
    first_at: int | None
    bought_at: int | None
    buyers: int
    exposures: int
    dismissals: int
    returns: int
    newcomers: float


class ItemsTogether(TypedDict):
    item_id: str
    total: float
    others: list[str]
    counts: list[float]
    as_of: int
    source_offset: int


class ReasonPart(TypedDict):
    kind: str
    item_id: str | None
    event_type: str | None
    share: float


class RecommendedItem(TypedDict):
    item_id: str
    rank: int
    score: float
    cosine: float
    prior: float
    reasons: list[ReasonPart]
    together: float
    match: float
    probability: float | None


class Recommendation(TypedDict):
    recommendation_id: str
    pseudonym: str
    sealed_id: bytes
    policy: str
    trigger_event_id: str
    trigger_type: str
    source_offset: int
    created_at: int
    model_version: str
    threshold: float
    items: list[RecommendedItem]
    profiled: bool
    trainable: bool


class BoardPosition(TypedDict):
    board: str
    next: list[int]


class FeatureLog(TypedDict):
    log_id: str
    pseudonym: str
    recommendation_id: str | None
    policy: str
    source_offset: int
    created_at: int
    model_version: str
    features: str
    items: list[str]
    levels: bytes
    shown: list[int]
    boards: list[BoardPosition]


class LinkedEntry(TypedDict):
    kind: str
    ref: str
    weight: float
    last_at: int
    event_type: str


class ProfileLink(TypedDict):
    link_id: str
    pseudonym: str
    linked_at: int
    history: list[LinkedEntry]
    bought: dict[str, int]


class Moved(TypedDict):
    stage: str
    sealed: bytes


class Outcome(TypedDict):
    item_id: str
    rank: int
    outcome: str
    reward: float
    shown: bool
    delay_ms: int | None


class Feedback(TypedDict):
    feedback_id: str
    recommendation_id: str
    pseudonym: str
    item_id: str
    rank: int
    policy: str
    model_version: str
    outcome: str
    reward: float
    shown: bool
    delay_ms: int | None
    created_at: int
    closed_at: int
    others: list[Outcome]


class HistoryItem(TypedDict):
    kind: str
    ref: str
    event_type: str
    age_ms: int


class TrainingPair(TypedDict):
    pair_id: str
    pseudonym: str
    history: list[HistoryItem]
    item_id: str
    outcome: str
    reward: float
    recommendation_id: str | None
    rank: int | None
    model_version: str | None
    occurred_at: int


class ModelAnnouncement(TypedDict):
    channel: str
    model_version: str
    location: str
    sha256: dict[str, str]
    dimension: int
    metrics: dict[str, float]
    epsilon_spent: float | None
    parent: str | None
    announced_at: int
    serving: dict[str, float]
    canary_share: float
    reason: str
    withdrawn: bool
    counter: int
    signature: bytes


class TallyBucket(TypedDict):
    model_version: str
    start: int
    items: int
    ignored: int
    scores: list[int]


class TrainingTally(TypedDict):
    partition: int
    pairs: int
    pairs_offset: int
    feedback_offset: int
    recommendations_offset: int
    buckets: list[TallyBucket]


class TrainingControl(TypedDict):
    request_id: str
    state: str
    cause: str
    reason: str
    at: int
    model_version: str | None
    verdict: str
    pairs: int


class Consent(TypedDict):
    user_id: str
    purposes: dict[str, bool]
    updated_at: int
    policy_version: str | None
    anonymous_id: str | None
    source: str | None


class ConsentDecision(TypedDict):
    pseudonym: str
    purpose: str
    allowed: bool
    decided_at: int
    policy_version: str | None
    source: str | None
    received_at: int


class ErasureRequest(TypedDict):
    user_id: str
    request_id: str
    requested_at: int
    scope: str
    anonymous_id: str | None


class Forgotten(TypedDict):
    pseudonym: str
    request_id: str
    requested_at: int
    received_at: int
    item_id: str | None


class AuditRecord(TypedDict):
    stage: str
    chain: str
    sequence: int
    action: str
    subject: str | None
    details: dict[str, str]
    occurred_at: int
    previous_hash: bytes
    signature: bytes
