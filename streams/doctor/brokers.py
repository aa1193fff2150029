"""Asks the brokers what they can and what they hold. Nothing is written there."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from streams.doctor.findings import Finding, fault
from streams.doctor.limits import judge_clock
from streams.doctor.quorum import QuorumRequest, leaders_time
from streams.doctor.topics import SeenTopic
from streams.errors import BrokerUnavailable
from streams.kafka.clients import client_config, hushed, need_broker, no_broker
from streams.settings import KafkaSettings

_CONNECT_S, _WHY_S = 3.5, 3.5
_ANSWER_MS = 3000
_ASKED = 5
"""So many round trips are timed."""
_FAR_MS = 200.0
_PRODUCE, _FETCH, _METADATA, _PRODUCER_ID = 0, 1, 3, 22
_LEAST = {_PRODUCE: 3, _FETCH: 4}
"""Versions from which on records have headers: Kafka 0.11."""
_TELLS_RIGHTS = 8
"""The version of Metadata from which on it tells rights: Kafka 2.3."""
_GIVES_PRODUCERS = (0, 14, 15, 16)
"""It gives one, or will when its coordinator is there: that of a fresh broker is not at once."""
_PRODUCER_MS = 60_000
_CLUSTER_REFUSED = ClusterAuthorizationFailedError.errno
_TOO_OLD = (NotImplementedError, IncompatibleBrokerVersion)


@dataclass(frozen=True, slots=True)
class SeenBroker:
    """``versions``: of each API by its key, the highest that the broker speaks. ``producer_error``: what it answers to who wants an
    idempotent producer; 0 where it gives one, None where it was not asked or does not have them."""

    address: str
    brokers: int
    round_trip_ms: float
    versions: Mapping[int, int]
    producer_error: int | None = None


@asynccontextmanager
async def connected(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Raises ConfigurationError for settings that can't be, and BrokerUnavailable that says why nothing comes about, as far as that is
    found within some seconds."""
    admin = AIOKafkaAdminClient(**client_config(kafka), request_timeout_ms=_ANSWER_MS, client_id="veilstream-doctor")
    try:
        try:
            with hushed():
                async with asyncio.timeout(_CONNECT_S):
                    await admin.start()
                    await need_broker(admin._client)
        except (KafkaError, OSError) as error:
            raise await _why(kafka, error) from error
        with hushed():
            yield admin
    finally:
        await admin.close()


async def _why(kafka: KafkaSettings, error: Exception) -> BrokerUnavailable:
    try:
        async with asyncio.timeout(_WHY_S):
            return await no_broker(kafka, error)
    except TimeoutError:
        return BrokerUnavailable(
            f"no broker answers at {kafka.bootstrap_servers} within {_CONNECT_S:g} s; check KAFKA_BOOTSTRAP_SERVERS, the network and the "
            "KAFKA_… security settings"
        )


async def see_broker(admin: AIOKafkaAdminClient, kafka: KafkaSettings, *, idempotent: bool) -> SeenBroker:
    """``idempotent``: whether to ask for an idempotent producer, which is a number and no record. Raises KafkaError where it falls
    silent."""
    client = admin._client
    brokers = list(client.cluster.brokers())
    node = brokers[0].nodeId if brokers else "bootstrap"
    took, answer = [], None
    for _ in range(_ASKED):
        begin = time.perf_counter()
        answer = await client.send(node, ApiVersionRequest())
        took.append((time.perf_counter() - begin) * 1000)
    versions = {} if answer is None else {key: highest for key, _, highest in answer.api_versions}
    error = None
    if idempotent and _PRODUCER_ID in versions:
        error = int((await client.send(node, InitProducerIdRequest(None, _PRODUCER_MS))).error_code)
    return SeenBroker(kafka.bootstrap_servers, max(1, len(brokers)), statistics.median(took), versions, error)


def judge_broker(seen: SeenBroker, *, idempotent: bool, in_clear: str | None) -> list[Finding]:
    """Pure. ``idempotent``: whether the settings want idempotent producers; ``in_clear``: what travels unencrypted."""
    found = []
    if any(seen.versions.get(key, -1) < least for key, least in _LEAST.items()):
        found.append(Finding("broker", "fault", "the broker is older than Kafka 0.11: its records have no headers", "use a newer one"))
    if idempotent and seen.producer_error == _CLUSTER_REFUSED:
        what = "the credentials may not have an idempotent producer (IdempotentWrite, before Kafka 2.8)"
        fix = "an administrator of the brokers grants it with what `veilstream access acls --idempotent-write` prints"
        found.append(Finding("broker", "fault", what, fix))
    elif idempotent and seen.producer_error not in _GIVES_PRODUCERS:
        what = "the broker does not support idempotent producers (InitProducerId)"
        found.append(Finding("broker", "fault", what, "set VEILSTREAM_IDEMPOTENT_PRODUCER=false"))
    if seen.versions.get(_METADATA, -1) < _TELLS_RIGHTS:
        what = "the broker does not tell rights (before Kafka 2.3): one that is missing shows when it is needed"
        found.append(Finding("broker", "warning", what, "use a newer broker, or check with kafka-acls.sh"))
    if seen.round_trip_ms > _FAR_MS:
        what = f"a round trip to the broker takes {seen.round_trip_ms:.0f} ms: every batch waits for several"
        found.append(Finding("broker", "warning", what, "run the stages near the brokers"))
    if in_clear is not None:
        what, _, fix = in_clear.rpartition("; ")
        found.append(Finding("broker", "warning", what, fix))
    if not any(one.state == "fault" for one in found):
        count = f"{seen.brokers} broker{'' if seen.brokers == 1 else 's'}"
        found.insert(0, Finding("broker", "ok", f"{seen.address}: {count}, a round trip takes {seen.round_trip_ms:.1f} ms"))
    return found


async def see_topics(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, SeenTopic]:
    """Of those that exist and may be seen, by full name. Raises KafkaError."""
    existing = set(await admin.list_topics())  # some brokers make a topic that is asked about
    wanted = [name for name in dict.fromkeys(names) if name in existing]
    described = await admin.describe_topics(wanted) if wanted else []
    configs = await _configs(admin, [answer["topic"] for answer in described if not answer["error_code"]])
    found = {}
    for answer in described:
        parts = answer["partitions"]
        if not answer["error_code"] and parts:
            found[answer["topic"]] = SeenTopic(
                partitions=len(parts),
                replicas=min(len(part["replicas"]) for part in parts),
                unsynced=sum(len(part["isr"]) < len(part["replicas"]) for part in parts),
                leaderless=sum(part["leader"] < 0 for part in parts),
                config=configs.get(answer["topic"]),
            )
    return found


async def _configs(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Of those that may be seen."""
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]) if names else []
    except (*_TOO_OLD, TopicAuthorizationFailedError):
        return {}
    resources = [resource for answer in answers for resource in answer.resources if not resource[0]]
    return {resource[3]: {entry[0]: str(entry[1]) for entry in resource[4]} for resource in resources}


async def compare_clocks(admin: AIOKafkaAdminClient) -> Finding:
    """By what the cluster says of itself; no record is written, and times of records are producers'. Raises KafkaError."""
    client: Any = admin._client
    node = next((broker.nodeId for broker in client.cluster.brokers()), "bootstrap")
    begin = time.time()
    try:
        answer = await client.send(node, QuorumRequest())
    except _TOO_OLD:
        return Finding("clock", "skipped", "not checked: the brokers tell no time (only Kafka from 3.3 with KRaft does)")
    end = time.time()
    if answer.error_code == _CLUSTER_REFUSED:
        why = "not checked: the brokers tell their time only to who may Describe the cluster, such as an administrator"
        return Finding("clock", "skipped", why)
    there_ms = leaders_time(answer)
    if answer.error_code or there_ms is None:
        return Finding("clock", "skipped", f"not checked: the brokers did not tell their time (error {answer.error_code})")
    return judge_clock((begin + end) / 2 - there_ms / 1000, (end - begin) / 2 + 0.001)


def refused(error: Exception) -> Finding:
    """Why there is no connection."""
    return fault("broker", str(error))
