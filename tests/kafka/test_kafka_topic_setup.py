"""Topics are made as the table says, and what differs from it is named with its fix."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from aiokafka.admin import NewTopic

from streams import topics
from streams.broker.embedded import EmbeddedBroker
from streams.kafka.clients import connect_admin, partition_counts
from streams.kafka.topic_setup import check_topics, create_topics, topic_config
from streams.settings import KafkaSettings, Settings


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaSettings]:
    with EmbeddedBroker() as broker:
        yield KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


async def make(kafka: KafkaSettings, name: str, partitions: int, **config: str) -> None:
    admin = await connect_admin(kafka)
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


async def counts(kafka: KafkaSettings, prefix: str) -> dict[str, int]:
    admin = await connect_admin(kafka)
    try:
        return await partition_counts(admin, [prefix + spec.name for spec in topics.TOPICS])
    finally:
        await admin.close()


def problems(kafka: KafkaSettings, settings: Settings) -> dict[str, str]:
    states = asyncio.run(check_topics(settings, kafka))
    assert len(states) == len(topics.TOPICS)
    return {state.name.removeprefix(settings.topic_prefix): state.problem for state in states if state.problem}


def test_create_makes_all_once(kafka: KafkaSettings, prefix: str) -> None:
    settings = Settings.model_validate({"topic_prefix": prefix, "partitions": 3})
    assert set(problems(kafka, settings)) == set(topics.BY_NAME)
    created, kept = asyncio.run(create_topics(settings, kafka))
    assert sorted(created) == sorted(prefix + name for name in topics.BY_NAME) and kept == []
    assert asyncio.run(create_topics(settings, kafka)) == ([], created)
    assert problems(kafka, settings) == {}
    found = asyncio.run(counts(kafka, prefix))
    single = (topics.MODELS, topics.TRAINING_TALLIES, topics.TRAINING_CONTROL)
    assert {name: count for name, count in found.items() if count != 3} == {prefix + name: 1 for name in single}


def test_what_is_added_later_matches_what_is_there(kafka: KafkaSettings, prefix: str) -> None:
    asyncio.run(make(kafka, prefix + topics.BEHAVIOUR_CLEAN, 2))
    settings = Settings.model_validate({"topic_prefix": prefix, "partitions": 5})
    asyncio.run(create_topics(settings, kafka))
    found = asyncio.run(counts(kafka, prefix))
    assert all(found[prefix + spec.name] == 2 for spec in topics.TOPICS if spec.co_partitioned)
    assert found[prefix + topics.BEHAVIOUR_RAW] == 5
    assert problems(kafka, settings) == {}


def test_what_is_wrong_is_named_with_its_fix(kafka: KafkaSettings, prefix: str) -> None:
    asyncio.run(make(kafka, prefix + topics.FEEDBACK, 7))
    asyncio.run(make(kafka, prefix + topics.MODELS, 2))
    asyncio.run(make(kafka, prefix + topics.ITEMS_VECTORS, 4, **{"cleanup.policy": "delete"}))
    asyncio.run(make(kafka, prefix + topics.BEHAVIOUR_CLEAN, 4))
    settings = Settings.model_validate({"topic_prefix": prefix})
    asyncio.run(create_topics(settings, kafka))
    found = problems(kafka, settings)
    assert found[topics.FEEDBACK] == "has 7 partitions, the others that must match have 4; make it anew with as many"
    assert "instead of 1" in found[topics.MODELS]
    assert "cleanup.policy is delete instead of compact" in found[topics.ITEMS_VECTORS]
    assert f"--entity-name {prefix}{topics.ITEMS_VECTORS} --add-config cleanup.policy=compact" in found[topics.ITEMS_VECTORS]
    assert set(found) == {topics.FEEDBACK, topics.MODELS, topics.ITEMS_VECTORS}


@pytest.mark.parametrize("spec", topics.TOPICS, ids=lambda spec: spec.name)
def test_config_follows_the_table(spec: topics.TopicSpec) -> None:
    config = topic_config(spec)
    assert config["cleanup.policy"] == spec.cleanup
    assert config.get("retention.ms") == (None if spec.retention_ms is None else str(spec.retention_ms))
    assert ("segment.ms" in config) is (spec.cleanup == "compact")
