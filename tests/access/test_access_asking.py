"""Brokers that do not tell rights, or do not answer."""

from __future__ import annotations

import asyncio

import pytest

from streams.access.asking import Rights, granted
from streams.access.comparing import missing, too_many, unknown
from streams.access.requests import operations_in
from streams.access.rights import ROLES, rights_of
from streams.broker.embedded import EmbeddedBroker
from streams.errors import TransientError
from streams.kafka.clients import connect_admin
from streams.kafka.topic_setup import create_topics
from streams.settings import KafkaSettings, Settings


def test_a_broker_that_tells_nothing_is_believed_and_left_as_it_is() -> None:
    """The embedded one: it has no rights, and would make the topics that are asked about."""

    async def look(kafka: KafkaSettings) -> None:
        await create_topics(Settings(), kafka)
        admin = await connect_admin(kafka)
        before = sorted(await admin.list_topics())
        for role in ROLES:
            rights = rights_of(role, Settings(), idempotent_write=True)
            assert await Rights(kafka, role, rights).refusal() is None
            found = await granted(kafka, rights, everything=True)
            assert missing(rights, found) == [] and unknown(rights, found) == list(rights) and too_many(rights, found) == []
        assert sorted(await admin.list_topics()) == before
        await admin.close()

    with EmbeddedBroker() as broker:
        asyncio.run(look(KafkaSettings.model_validate({"bootstrap_servers": broker.bootstrap_servers})))


def test_a_broker_that_is_away() -> None:
    rights = Rights(KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1"}), "profile", rights_of("profile", Settings()))
    with pytest.raises(TransientError, match="asking the broker for rights failed"):
        asyncio.run(rights.refusal())


def test_bits_of_operations() -> None:
    assert operations_in(0) == frozenset() and operations_in(-(2**31)) is None and operations_in(-1) is None
    assert operations_in(1 << 12 | 1 << 10) == {"IdempotentWrite", "DescribeConfigs"}
