"""The one table of topics: name, key, value schema, retention, cleanup, who may write and who may read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from streams.errors import ConfigurationError

DAY_MS = 86_400_000

BEHAVIOUR_RAW = "behaviour.raw"
CATALOGUE_ITEMS = "catalogue.items"
CONSENT_UPDATES = "consent.updates"
CONSENT_DECISIONS = "consent.decisions"
PRIVACY_ERASURE = "privacy.erasure"
PRIVACY_FORGOTTEN = "privacy.forgotten"
PRIVACY_MOVES = "privacy.moves"
BEHAVIOUR_CLEAN = "behaviour.clean"
DEAD_LETTER = "behaviour.dead-letter"
ITEMS_VECTORS = "items.vectors"
ITEMS_POPULARITY = "items.popularity"
ITEMS_TOGETHER = "items.together"
RECOMMENDATIONS = "recommendations"
RANKING_FEATURES = "ranking.features"
PROFILE_LINKS = "profile.links"
FEEDBACK = "feedback"
TRAINING_PAIRS = "training.pairs"
TRAINING_TALLIES = "training.tallies"
TRAINING_CONTROL = "training.control"
MODELS = "models"
PRIVACY_AUDIT = "privacy.audit"

Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic. ``retention_ms`` is None if cleanup is compaction; the schema file is ``schemas/avro/<name>.avsc``.

    ``writers`` and ``readers`` are who really does, and become rights at the broker (``streams/access``). A stage also reads back what it
    writes, which is not said here.
    """

    name: str
    key: str
    cleanup: Cleanup
    retention_ms: int | None
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    raw_identity: bool = False
    """True for the only three topics whose values name a person."""
    co_partitioned: bool = False
    """True if the partition count must equal that of behaviour.clean."""
    single_partition: bool = False
    like: str | None = None
    """Of a shop's own topics: the one whose properties and partitions it has."""


TOPICS: tuple[TopicSpec, ...] = (
    # Operators replay dead letters to where they came from.
    TopicSpec(BEHAVIOUR_RAW, "anything", "delete", DAY_MS, ("producers", "operators"), ("ingest",), raw_identity=True),
    TopicSpec(CATALOGUE_ITEMS, "item_id", "compact", None, ("producers", "operators"), ("catalogue", "trainer", "console")),
    TopicSpec(CONSENT_UPDATES, "user_id", "delete", DAY_MS, ("producers",), ("ingest",), raw_identity=True),
    TopicSpec(PRIVACY_ERASURE, "user_id", "delete", DAY_MS, ("producers", "privacy"), ("ingest",), raw_identity=True),
    TopicSpec(CONSENT_DECISIONS, "pseudonym/purpose", "compact", None, ("ingest",), ("ingest", "trainer", "operators", "privacy")),
    TopicSpec(PRIVACY_FORGOTTEN, "pseudonym", "delete", 30 * DAY_MS, ("ingest",), ("trainer", "operators", "privacy")),
    # `veilstream features check` rebuilds features from this one and from those about items: operators read them.
    TopicSpec(
        BEHAVIOUR_CLEAN,
        "pseudonym",
        "delete",
        7 * DAY_MS,
        ("ingest",),
        ("profile", "feedback", "operators", "privacy"),
        co_partitioned=True,
    ),
    TopicSpec(
        DEAD_LETTER,
        "source position",
        "delete",
        30 * DAY_MS,
        ("ingest", "catalogue", "profile", "feedback", "learning"),
        ("operators", "console"),
    ),
    TopicSpec(ITEMS_VECTORS, "model version/item_id", "compact", None, ("catalogue",), ("profile", "operators")),
    TopicSpec(ITEMS_POPULARITY, "item_id", "compact", None, ("profile",), ("profile", "operators"), co_partitioned=True),
    TopicSpec(ITEMS_TOGETHER, "item_id", "compact", None, ("profile",), ("profile", "operators"), co_partitioned=True),
    TopicSpec(
        RECOMMENDATIONS,
        "pseudonym",
        "delete",
        7 * DAY_MS,
        ("profile",),
        ("feedback", "learning", "subscribers", "privacy", "console"),
        co_partitioned=True,
    ),
    TopicSpec(RANKING_FEATURES, "pseudonym", "delete", 30 * DAY_MS, ("profile",), ("trainer", "operators", "privacy"), co_partitioned=True),
    TopicSpec(PROFILE_LINKS, "pseudonym", "delete", 7 * DAY_MS, ("profile",), ("profile", "privacy"), co_partitioned=True),
    # Records have no key: whose partition one is in is all that is seen of whom it is about.
    TopicSpec(
        PRIVACY_MOVES,
        "none",
        "delete",
        7 * DAY_MS,
        ("profile", "feedback"),
        ("profile", "feedback", "trainer"),
        co_partitioned=True,
    ),
    TopicSpec(
        FEEDBACK, "pseudonym", "delete", 30 * DAY_MS, ("feedback",), ("learning", "trainer", "analysts", "privacy"), co_partitioned=True
    ),
    TopicSpec(TRAINING_PAIRS, "pseudonym", "delete", 30 * DAY_MS, ("feedback",), ("learning", "trainer", "privacy"), co_partitioned=True),
    TopicSpec(TRAINING_TALLIES, "partition", "compact", None, ("learning",), ("learning",), single_partition=True),
    TopicSpec(
        TRAINING_CONTROL,
        "request_id",
        "delete",
        30 * DAY_MS,
        ("learning", "trainer", "operators"),
        ("learning", "trainer", "operators", "console"),
        single_partition=True,
    ),
    TopicSpec(
        MODELS,
        "channel",
        "compact",
        None,
        ("trainer", "operators"),
        ("catalogue", "profile", "trainer", "operators", "console"),
        single_partition=True,
    ),
    TopicSpec(
        PRIVACY_AUDIT,
        "stage",
        "delete",
        -1,
        ("ingest", "catalogue", "profile", "feedback", "learning", "trainer", "operators", "privacy"),
        ("trainer", "operators", "privacy", "console"),
    ),
)

COMPACTED: Mapping[str, str] = {
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "3600000",
    # However little is written: what was replaced or removed, such as an erased shopper's state, is not on the brokers' disks for longer.
    "max.compaction.lag.ms": "21600000",
}
"""Configuration of compacted topics and of the changelogs of states."""

_RAW_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}")


def raw_topics(text: str, setting: str = "VEILSTREAM_SOURCE_TOPICS", like: str = BEHAVIOUR_RAW) -> dict[str, str]:
    """The shop's own topics beside ``like``, without prefix, and the source of each, of a setting's text.

    Raises ConfigurationError where it is not ``topic=source,topic=source``, or names one of the product's topics.

    >>> raw_topics("raw.web=segment, raw.ga4=ga4-bigquery")
    {'raw.web': 'segment', 'raw.ga4': 'ga4-bigquery'}
    """
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        topic, separator, source = (word.strip() for word in part.partition("="))
        if not separator or not source or not _RAW_TOPIC.fullmatch(topic):
            raise ConfigurationError(f"{setting} must be topic=source, several separated by commas")
        if topic in found or (topic in BY_NAME and topic != like):
            raise ConfigurationError(f"{setting}: {topic} is {'there twice' if topic in found else 'a topic of the product'}")
        found[topic] = source
    return found


def item_topics(text: str) -> dict[str, str]:
    """The same of the shop's own topics of items."""
    return raw_topics(text, "VEILSTREAM_ITEMS_SOURCE_TOPICS", CATALOGUE_ITEMS)


def with_raw(names: Iterable[str], items: Iterable[str] = ()) -> tuple[TopicSpec, ...]:
    """All topics, the shop's own raw topics with the properties of behaviour.raw, and those of items with those of catalogue.items.

    Raises ConfigurationError for one that is both.
    """
    own = [(name, BEHAVIOUR_RAW) for name in names if name != BEHAVIOUR_RAW] + [
        (name, CATALOGUE_ITEMS) for name in items if name != CATALOGUE_ITEMS
    ]
    both = {name for name, like in own if (name, BEHAVIOUR_RAW) in own and (name, CATALOGUE_ITEMS) in own}
    if both:
        raise ConfigurationError(
            f"{', '.join(sorted(both))} can't hold events and items: see VEILSTREAM_SOURCE_TOPICS, VEILSTREAM_ITEMS_SOURCE_TOPICS"
        )
    return (*TOPICS, *(replace(BY_NAME[like], name=name, like=like) for name, like in own))


BY_NAME: dict[str, TopicSpec] = {spec.name: spec for spec in TOPICS}
