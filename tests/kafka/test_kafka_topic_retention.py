"""On Apache Kafka, which tells all of a topic's configuration: what is kept for longer than the table says is named, with its fix."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka.admin import NewTopic

from streams import topics
from streams.kafka.clients import connect_admin
from streams.kafka.topic_setup import check_topics, create_topics
from streams.settings import KafkaSettings, Settings
from tests.support.apache_kafka import ApacheKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


async def found(broker: KafkaSettings, settings: Settings, made: dict[str, dict[str, str]]) -> dict[str, str]:
    """The problems, where these topics were there before the others were made."""
    admin = await connect_admin(broker)
    try:
        await admin.create_topics([NewTopic(settings.topic_prefix + name, 3, 1, topic_configs=config) for name, config in made.items()])
    finally:
        await admin.close()
    await create_topics(settings, broker)
    for _ in range(100):
        states = await check_topics(settings, broker)
        if all(state.partitions is not None for state in states):
            break
        await asyncio.sleep(0.1)  # a broker knows new topics a moment later
    return {state.name.removeprefix(settings.topic_prefix): state.problem for state in states if state.problem}


def test_what_is_kept_for_longer_is_named_with_its_fix(kafka: ApacheKafka) -> None:
    settings = Settings.model_validate({"topic_prefix": f"t{uuid.uuid4().hex[:8]}."})
    made = {
        topics.FEEDBACK: {"retention.ms": "-1"},
        topics.RECOMMENDATIONS: {"retention.ms": "3600000"},
        topics.CONSENT_DECISIONS: {"cleanup.policy": "compact"},
        topics.PRIVACY_AUDIT: {"retention.ms": "604800000"},
    }
    problems = asyncio.run(found(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), settings, made))
    assert set(problems) == {topics.FEEDBACK, topics.CONSENT_DECISIONS, topics.PRIVACY_AUDIT}, "shorter is the operator's choice"
    assert problems[topics.FEEDBACK].startswith("retention.ms is -1 instead of 2592000000; kafka-configs.sh --bootstrap-server")
    assert problems[topics.CONSENT_DECISIONS].endswith("--add-config max.compaction.lag.ms=21600000")
    assert "retention.ms is 604800000 instead of -1" in problems[topics.PRIVACY_AUDIT]
