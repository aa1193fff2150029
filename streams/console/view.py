"""The view: all that the page shows, as plain data. Its JSON is what the browser gets (``/events``, ``/snapshot.json``).

Times are milliseconds since the epoch, durations are in the unit that their name ends with, None is "not known". Texts of others are made
visible and cut (``texts.py``). Nothing here holds an identity: of a shopper there is a tag that this process made up.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Worker:
    """One address of /metrics."""

    address: str
    stages: list[str]
    state: str
    missing: list[str]
    """Metrics that an older worker does not have."""
    problem: str
    """Why it does not answer."""
    version: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage, or the trainer, over all its workers."""

    name: str
    state: str
    """ok, behind, retrying, starting, away; of the trainer also training, and none: a shop need not have one."""
    workers: int
    rate: float | None
    """Records per second."""
    p50_ms: float | None
    p99_ms: float | None
    """Of a record, from its arrival until all of it is written; of an older worker, of a batch."""
    lag: float | None
    """Records that wait."""
    behind_s: float | None
    retrying_s: float | None
    recovery_left: float | None
    """Records of its changelog that it still has to read before it processes."""
    rates: list[float]
    """The last minutes, oldest first."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Stages, and records per second in the topics between them."""

    stages: list[Stage]
    topics: dict[str, float | None]
    suppressed: dict[str, float]
    """Events that asked for a list and got none, by reason."""


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel serves."""

    name: str
    version: str
    share: float
    """Of the shoppers."""
    announced_at: int
    reason: str
    is_verified: bool
    """Whether the signature was checked."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share with its 95 % interval (Wilson)."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Version:
    """What became of what a model version recommended."""

    version: str
    channels: list[str]
    recommendations: float | None
    items: float
    """Recommended items with an outcome."""
    seen: float
    """Of these, those of which an impression or more is known."""
    clicks: float
    purchases: float
    click_through: Ratio | None
    conversion: Ratio | None
    metrics: dict[str, float]
    """Of its evaluation, as announced."""


@dataclass(frozen=True, slots=True)
class Models:
    channels: list[Channel]
    versions: list[Version]


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of a score."""

    kind: str
    title: str | None
    event_type: str | None
    share: float


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    item_id: str
    title: str | None
    score: float
    reasons: list[Reason]


@dataclass(frozen=True, slots=True)
class Recommendation:
    key: str
    """Partition and offset."""
    shopper: str
    """A tag that only this process knows how to make."""
    at: int
    policy: str
    trigger: str
    version: str
    is_profiled: bool
    threshold: float
    items: list[RecommendedItem]
    more: int
    """Items of the same list that are not shown."""


@dataclass(frozen=True, slots=True)
class LetterRow:
    """Dead letters of one reason from one place."""

    reason: str
    stage: str
    topic: str
    count: int
    newest: int
    detail: str


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What a source of events sent since the workers' start."""

    source: str
    read: float
    refused: float
    reasons: dict[str, float]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    rows: list[LetterRow]
    sources: list[SourceRow]
    seen: int
    """Letters that the rows count."""
    skipped: int
    """Letters that came too fast to be read, or were there long before."""
    per_minute: float | None


@dataclass(frozen=True, slots=True)
class Round:
    """A round of training."""

    id: str
    state: str
    cause: str
    reason: str
    requested_at: int | None
    started_at: int | None
    ended_at: int | None
    version: str | None
    verdict: str
    pairs: int
    loss: list[tuple[float, float]]
    """Step and value."""
    validation: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Training:
    rounds: list[Round]
    step: float | None
    steps: float | None
    seconds_left: float | None
    new_pairs: float | None
    score_stability: float | None
    ignored_share: float | None
    pairs_stored: float | None


@dataclass(frozen=True, slots=True)
class Consent:
    purpose: str
    allowed: float
    refused: float


@dataclass(frozen=True, slots=True)
class Widened:
    """How many events told less than is known, by flag."""

    flag: str
    count: float
    share: float | None
    """Of all events."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What `veilstream audit k` found last."""

    attribute: str
    k: int
    least: int
    below: int
    at: int


@dataclass(frozen=True, slots=True)
class Audit:
    """How far the chains are checked. States: keys (no public key), waiting, reading, right, wrong."""

    state: str
    checked_at: int | None
    links: int
    chains: int
    wrong: dict[str, int]
    unread: int


@dataclass(frozen=True, slots=True)
class Privacy:
    k: int
    widened: list[Widened]
    measured: list[Measured]
    consents: list[Consent]
    erasures_open: float | None
    oldest_s: float | None
    audit: Audit


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that wants somebody. ``code`` names its sentence and what to do in the page's languages."""

    code: str
    severity: str
    """bad or warn."""
    values: dict[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: int
    every_s: float
    """Seconds until the next one."""
    notices: list[Notice]
    workers: list[Worker]
    flow: Flow
    models: Models
    recommendations: list[Recommendation]
    dead_letters: DeadLetters
    training: Training
    privacy: Privacy
