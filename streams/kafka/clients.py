"""Connection settings for every Kafka client of the product."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError

from streams.errors import AccessDenied, BrokerUnavailable, ConfigurationError
from streams.kafka.diagnosis import why_not_connected
from streams.kafka.security import sasl_password, say_in_clear, ssl_context
from streams.kafka.tokens import token_provider
from streams.settings import KafkaSettings
from streams.visible_text import without_secrets

log = logging.getLogger(__name__)

_CONNECT_S = 15.0
_TOPIC_REFUSED = 29
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:,\[\]/@]+)(?::(\d{1,5}))?")


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for any aiokafka client. Raises ConfigurationError if the address is none, or a file that the
    settings name is missing."""
    for address in kafka.bootstrap_servers.split(","):
        found = _ADDRESS.fullmatch(address.strip())
        if found is None or not 0 < int(found.group(1) or 9092) < 65_536:
            raise ConfigurationError(
                f"KAFKA_BOOTSTRAP_SERVERS must be host:port[,host:port...], not {without_secrets(kafka.bootstrap_servers)!r}"
            )
    say_in_clear(kafka)
    config: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap_servers, "security_protocol": kafka.security_protocol}
    if "SSL" in kafka.security_protocol:
        config["ssl_context"] = ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        config["sasl_mechanism"] = kafka.sasl_mechanism
        if kafka.sasl_mechanism == "OAUTHBEARER":
            config["sasl_oauth_token_provider"] = token_provider(kafka)
        else:
            config |= {"sasl_plain_username": kafka.sasl_username, "sasl_plain_password": sasl_password(kafka)}
    return config


async def connect_admin(kafka: KafkaSettings) -> AIOKafkaAdminClient:
    """A started admin client. Raises BrokerUnavailable if nobody answers."""
    admin = AIOKafkaAdminClient(**client_config(kafka))
    try:
        with hushed():
            await asyncio.wait_for(admin.start(), _CONNECT_S)
            await need_broker(admin._client)
    except (KafkaError, OSError) as error:
        await admin.close()
        raise await no_broker(kafka, error) from error
    return admin


async def need_broker(client: AIOKafkaClient) -> None:
    """Raises KafkaConnectionError where the client has connected and still can't use a broker: it was told of none, since its token is
    refused (see docs/kafka-client-faults.md), or of those only that it can't reach."""
    for broker in client.cluster.brokers():
        if await client.ready(broker.nodeId):
            return
    raise KafkaConnectionError("no broker has let us in")


async def partition_counts(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Partitions of those topics (full names) that exist and may be seen."""
    existing = set(await admin.list_topics())
    wanted = [topic for topic in dict.fromkeys(topics) if topic in existing]
    described = await admin.describe_topics(wanted) if wanted else []
    return {answer["topic"]: len(answer["partitions"]) for answer in described if not answer["error_code"]}


async def need_topic(kafka: KafkaSettings, topic: str, operation: str = "Read") -> int:
    """The topic's partitions. Raises ConfigurationError if it is missing, AccessDenied if the credentials may not see it (``operation``
    is what for), BrokerUnavailable if nobody answers."""
    admin = await connect_admin(kafka)
    try:
        counts = await partition_counts(admin, [topic])
        if topic not in counts and [answer["error_code"] for answer in await admin.describe_topics([topic])] == [_TOPIC_REFUSED]:
            raise AccessDenied([f"{operation} topic {topic}"])
    finally:
        await admin.close()
    if topic not in counts:
        raise ConfigurationError(f"topic {topic} is missing; run `veilstream topics create`")
    return counts[topic]


@asynccontextmanager
async def reader(kafka: KafkaSettings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer assigned to all partitions of a topic (full name), outside any group. Raises as ``need_topic`` does; AccessDenied also
    while it is read."""
    async with partition_reader(kafka, topic, range(await need_topic(kafka, topic))) as consumer:
        yield consumer


@asynccontextmanager
async def partition_reader(kafka: KafkaSettings, topic: str, partitions: Iterable[int]) -> AsyncIterator[AIOKafkaConsumer]:
    """The same, of some partitions of a topic that is there."""
    consumer = AIOKafkaConsumer(
        **client_config(kafka), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            raise await no_broker(kafka, error) from error
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        with naming_rights("Read", topic):
            yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def writer(kafka: KafkaSettings, *, idempotent: bool, many: bool = False) -> AsyncIterator[AIOKafkaProducer]:
    """A producer whose records are acknowledged by all replicas; ``many``: it gathers records, since there are more to come. Raises
    BrokerUnavailable."""
    gathering = {"linger_ms": 20, "max_batch_size": 262_144} if many else {}
    producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=idempotent, **gathering)
    try:
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            raise await no_broker(kafka, error) from error
        yield producer
    finally:
        await producer.stop()


@contextmanager
def naming_rights(operation: str, topic: str) -> Iterator[None]:
    """The client's error for a missing right becomes one that names the right."""
    try:
        yield
    except TopicAuthorizationFailedError:
        raise AccessDenied([f"{operation} topic {topic}"]) from None


async def no_broker(kafka: KafkaSettings, error: BaseException) -> BrokerUnavailable:
    """The error that names what to mend: what is wrong with certificates, the password or the token, as far as a further attempt tells;
    else the address and the settings to look at."""
    with hushed():
        why = await why_not_connected(kafka, client_config(kafka))
    if why is not None:
        return BrokerUnavailable(why)
    return BrokerUnavailable(
        f"no usable broker at {kafka.bootstrap_servers} ({type(error).__name__}); "
        "set KAFKA_BOOTSTRAP_SERVERS and the KAFKA_… security settings, or start one with `veilstream broker`"
    )


def quiet_client_loggers() -> None:
    """Set the client libraries' loggers to WARNING. At DEBUG, aiokafka writes every key and value into its log. And Faust's
    informational tables take time to render.
    """
    for name in ("aiokafka", "kafka", "faust", "mode", "asyncio", "streams.engine.faust"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("aiokafka.conn").addFilter(_is_not_said_here)


def _is_not_said_here(record: logging.LogRecord) -> bool:
    """The client says of each connection what ``say_in_clear`` says once."""
    return "in the clear" not in record.getMessage()


@contextmanager
def hushed() -> Iterator[None]:
    """While connecting, the client logs each failed attempt. The error at the end says the same once."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
