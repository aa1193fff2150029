"""The smallest set of rights with which each role does its work. Pure.

Where a right comes from:

=============================  ===========================================================================================
right                          why
=============================  ===========================================================================================
Write, Read a topic            the table of topics (``streams/topics.py``) says who writes and who reads it
Read what a stage writes       a stage that takes a partition over looks up what is written already
Read, Write, Create, Alter     a stage's own changelog: it makes it, and gives it more partitions when the source has more
the same                       a stage's topic of data keys, with which what it keeps of each shopper is sealed
Read all changelogs and keys   who answers shoppers' requests: ``veilstream export`` and ``forget --wait`` look into the states
Read a group                   a stage's own consumer group; subscribers and analysts name theirs with a prefix
Create, Describe,              operators, all topics: ``veilstream topics create`` and ``check``
DescribeConfigs
Describe, DescribeConfigs      operators, changelogs and topics of data keys: ``veilstream topics check``
IdempotentWrite the cluster    brokers before Kafka 2.8 only, where the producer is idempotent
=============================  ===========================================================================================

Read, Write and Alter include Describe at Apache Kafka, so it is not listed beside them. No role needs a transactional id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from streams.app import STAGES
from streams.errors import ConfigurationError
from streams.settings import Settings
from streams.topics import TopicSpec, item_topics, raw_topics, with_raw

Resource = Literal["topic", "group", "cluster"]
Operation = Literal["Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs", "IdempotentWrite"]

CLUSTER = "kafka-cluster"
"""The only name that a cluster has in a right."""
CLIENTS = ("producers", "subscribers", "analysts", "operators", "privacy", "console")
"""Roles of programs and people that are not the product's own processes."""
ROLES = (*STAGES, "trainer", *CLIENTS)
"""Everyone who has rights; each has credentials of its own."""
_WITH_GROUPS = ("subscribers", "analysts")
_OPERATORS, _PRIVACY = "operators", "privacy"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One operation on one resource, by its full name. ``is_prefix``: on all whose names begin so."""

    resource: Resource
    name: str
    operation: Operation
    is_prefix: bool = False

    def __str__(self) -> str:
        """
        >>> str(Right("topic", "models", "Read"))
        'Read topic models'
        """
        return f"{self.operation} the cluster" if self.resource == "cluster" else f"{self.operation} {self.resource} {self.name}"


def rights_of(role: str, settings: Settings, *, idempotent_write: bool = False) -> tuple[Right, ...]:
    """What the role needs, sorted. ``idempotent_write``: for brokers before Kafka 2.8.

    Raises ConfigurationError for a role that is none, and where a setting names topics that can't be.
    """
    if role not in ROLES:
        raise ConfigurationError(f"there is no role {role}; choose from: {', '.join(ROLES)}")
    rights = {right for spec in all_topics(settings) for right in _of_topic(role, spec, settings.topic_prefix + spec.name)}
    if role in STAGES:
        rights.add(Right("group", group_of(role, settings), "Read"))
        changelog = changelog_of(role, settings)
        if changelog is not None:
            rights |= {Right("topic", changelog, operation) for operation in ("Read", "Write", "Create", "Alter")}
        data_keys = data_keys_of(role, settings)
        if data_keys is not None:
            rights |= {Right("topic", data_keys, operation) for operation in ("Read", "Write", "Create", "Alter")}
    if role == _PRIVACY:
        rights |= {Right("topic", name, "Read") for name in state_topics(settings)}
    if role == _OPERATORS:
        rights |= {Right("topic", name, operation) for name in state_topics(settings) for operation in ("Describe", "DescribeConfigs")}
    if role in _WITH_GROUPS:
        rights.add(Right("group", group_of(role, settings), "Read", is_prefix=True))
    if idempotent_write and settings.idempotent_producer and any(right.operation == "Write" for right in rights):
        rights.add(Right("cluster", CLUSTER, "IdempotentWrite"))
    return tuple(sorted(rights))


def all_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """The product's topics and the shop's own, names without prefix. Raises ConfigurationError as the stages do."""
    return with_raw(raw_topics(settings.source_topics), item_topics(settings.items_source_topics))


def group_of(role: str, settings: Settings) -> str:
    """The consumer group of a stage; of subscribers and analysts what the names of their groups begin with."""
    return f"{settings.app_prefix}-{role}"


def changelog_of(stage: str, settings: Settings) -> str | None:
    """The topic in which a stage keeps its table, as Faust names it; None for a stage without one."""
    table = STAGES[stage].table
    return None if table is None else f"{group_of(stage, settings)}-{table}-changelog"


def data_keys_of(stage: str, settings: Settings) -> str | None:
    """The topic in which a stage keeps the data keys of shoppers (docs/at-rest.md); None for a stage without such keys."""
    spec = STAGES[stage]
    return f"{group_of(stage, settings)}-{spec.table}-keys" if spec.seals == "shoppers" else None


def state_topics(settings: Settings) -> list[str]:
    """Changelogs and topics of data keys of all stages: full names."""
    names = (name for stage in STAGES for name in (changelog_of(stage, settings), data_keys_of(stage, settings)))
    return [name for name in names if name is not None]


def _of_topic(role: str, spec: TopicSpec, name: str) -> Iterable[Right]:
    writes, reads = role in spec.writers, role in spec.readers
    if writes:
        yield Right("topic", name, "Write")
    if reads or (writes and role in STAGES):
        yield Right("topic", name, "Read")
    if role == _OPERATORS:
        yield Right("topic", name, "Create")
        yield Right("topic", name, "DescribeConfigs")
        if not (writes or reads):
            yield Right("topic", name, "Describe")
