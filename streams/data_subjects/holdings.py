"""Everything that is held about one shopper: records of topics, states of stages, and what the trainer keeps.

A shopper's records are found by their key. Lists for somebody who allows no personalization, and events of nobody, have pseudonyms of their
own: nothing joins them to a person, so they are not here.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from aiokafka.partitioner import DefaultPartitioner

from streams.app import FEEDBACK, PROFILE, STAGES
from streams.atrest.partition import MARKER
from streams.atrest.reading import StateReader
from streams.errors import RecordError
from streams.kafka.clients import connect_admin, partition_counts, partition_reader
from streams.kafka.topic_records import records_so_far
from streams.privacy.key_folder import key_folder
from streams.privacy.state_keys import load_state_keys
from streams.serde.codec import open_codec
from streams.settings import KafkaSettings, Settings
from streams.stages.feedback.ledger import load as load_shopper
from streams.stages.profile.profile import load_profile, unpack_issued
from streams.topics import CONSENT_DECISIONS, TOPICS

_EVERYTHING_READ = 2**63 - 1
"""An offset after all others."""


@dataclass
class Holdings:
    """By topic, or by stage: plain data, as JSON can say it."""

    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    consents: list[dict[str, Any]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    """Stages that keep nothing but that the shopper was forgotten, until they have read what others wrote before."""
    unreadable: dict[str, int] = field(default_factory=dict)
    """Records that could not be decoded, by topic."""

    @property
    def counts(self) -> dict[str, int]:
        """How many records or states there are, without those that hold none."""
        found = {name: len(rows) for name, rows in self.records.items()} | dict.fromkeys((f"state of {name}" for name in self.states), 1)
        return {name: count for name, count in {**found, CONSENT_DECISIONS: len(self.consents)}.items() if count}


async def holdings(
    settings: Settings, kafka: KafkaSettings, pseudonym: str, tell: Callable[[str], object] = lambda topic: None
) -> Holdings:
    """Read all of it, as of now. ``tell`` is called with each topic that is read. Raises BrokerUnavailable, StateDamaged
    for a state that was altered, and ConfigurationError for one of another version or where its state key is missing."""
    held, key = Holdings(), pseudonym.encode()
    topics = await open_topics(settings, kafka)
    for spec in (spec for spec in TOPICS if spec.key == "pseudonym"):
        tell(spec.name)
        codec = await open_codec(spec.name, settings)
        rows: list[dict[str, Any]] = []
        async for record in topics.of_key(settings.topic_prefix + spec.name, key):
            try:
                rows.append({"time": record.timestamp, **_plain(codec.decode(record.value, record.headers))})
            except RecordError:
                held.unreadable[spec.name] = held.unreadable.get(spec.name, 0) + 1
        held.records[spec.name] = rows
    tell(CONSENT_DECISIONS)
    codec = await open_codec(CONSENT_DECISIONS, settings)
    newest: dict[bytes, Any] = {}
    async for record in topics.all(settings.topic_prefix + CONSENT_DECISIONS):
        if record.key is not None and record.key.startswith(key + b"/"):
            newest[record.key] = record.value
    held.consents = [_plain(codec.decode(value)) for value in newest.values() if value is not None]
    for stage, describe in _STATES.items():
        tell(f"the state of {stage}")
        value = await _state(topics, settings, stage, key)
        if value is not None and stage == FEEDBACK.name and load_shopper(value).is_gone(_EVERYTHING_READ):
            held.marks.append(stage)
        elif value is not None:
            held.states[stage] = describe(value)
    return held


async def _state(topics: _Topics, settings: Settings, stage: str, key: bytes) -> bytes | None:
    """What a stage keeps of a shopper, opened."""
    newest = None
    async for record in topics.of_key(changelog(settings, stage), key):
        newest = record
    if newest is None or newest.value is None:
        return None
    keys_topic = _data_keys(settings, stage)
    records: dict[bytes, bytes | None] = {}
    async for record in topics.all(keys_topic, key):
        if record.key in (key, MARKER):
            records[record.key] = record.value
    keys = load_state_keys(key_folder(settings))
    reader = StateReader(keys, changelog(settings, stage), keys_topic, settings.seal_state == "migrate")
    return reader.open(newest.partition, key, newest.value, records)


async def states(topics: _Topics, settings: Settings, stage: str, prefix: bytes) -> dict[bytes, bytes]:
    """What a stage keeps under all pseudonyms that begin so, opened. Raises StateDamaged, and ConfigurationError without the state key."""
    newest: dict[bytes, Any] = {}
    async for record in topics.all(changelog(settings, stage)):
        if record.key is not None and record.key.startswith(prefix):
            newest[record.key] = record
    keys_topic = _data_keys(settings, stage)
    records: dict[int, dict[bytes, bytes | None]] = {}
    async for record in topics.all(keys_topic):
        records.setdefault(record.partition, {})[record.key or b""] = record.value
    reader = StateReader(load_state_keys(key_folder(settings)), changelog(settings, stage), keys_topic, settings.seal_state == "migrate")
    found: dict[bytes, bytes] = {}
    for key, record in newest.items():
        own = {name: value for name, value in records.get(record.partition, {}).items() if name in (key, MARKER)}
        value = None if record.value is None else reader.open(record.partition, key, record.value, own)
        if value is not None:
            found[key] = value
    return found


def _profile(data: bytes) -> dict[str, Any]:
    profile = load_profile(data)
    return {**_named(profile), "issued": [_named(unpack_issued(packed)) for _, packed in profile.issued]}


def _named(value: msgspec.Struct) -> dict[str, Any]:
    """A struct's fields by name; structs in it are lists."""
    return {name: _plain(msgspec.to_builtins(getattr(value, name), builtin_types=(bytes,))) for name in value.__struct_fields__}


_STATES: Mapping[str, Callable[[bytes], dict[str, Any]]] = {
    PROFILE.name: _profile,
    FEEDBACK.name: lambda data: _named(load_shopper(data)),
}


def _plain(value: Any) -> Any:
    """Bytes as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


class _Topics:
    """Reads topics that exist; one that does not is empty: a stage that never ran has no changelog."""

    def __init__(self, kafka: KafkaSettings, counts: Mapping[str, int], show: Callable[[str, int, int], object]) -> None:
        self._kafka = kafka
        self._counts = counts
        self._show = show

    async def of_key(self, name: str, key: bytes) -> AsyncIterator[Any]:
        """Records with the key, of the one partition that may hold it."""
        async for record in self.all(name, key):
            if record.key == key:
                yield record

    async def all(self, name: str, key: bytes | None = None) -> AsyncIterator[Any]:
        parts = list(range(self._counts.get(name, 0)))
        if key is not None and parts:
            parts = [DefaultPartitioner()(key, parts, parts)]
        if not parts:
            return
        async with partition_reader(self._kafka, name, parts) as consumer:
            async for record in records_so_far(consumer, name, show=partial(self._show, name)):
                yield record


async def open_topics(
    settings: Settings, kafka: KafkaSettings, show: Callable[[str, int, int], object] = lambda topic, done, total: None
) -> _Topics:
    """Readers of all that may hold something of a shopper. ``show`` is told of each topic how far it is read. Raises BrokerUnavailable."""
    admin = await connect_admin(kafka)
    try:
        names = [settings.topic_prefix + spec.name for spec in TOPICS]
        names += [of(settings, stage) for stage in _STATES for of in (changelog, _data_keys)]
        return _Topics(kafka, await partition_counts(admin, names), show)
    finally:
        await admin.close()


def changelog(settings: Settings, stage: str) -> str:
    """The full name of the topic that holds a stage's state."""
    return f"{settings.app_prefix}-{stage}-{STAGES[stage].table}-changelog"


def _data_keys(settings: Settings, stage: str) -> str:
    return f"{settings.app_prefix}-{stage}-{STAGES[stage].table}-keys"
