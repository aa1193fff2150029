"""Creates the product's topics, and checks their configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, for_code

from streams.errors import AccessDenied, ConfigurationError
from streams.kafka.clients import connect_admin, partition_counts
from streams.settings import KafkaSettings, Settings
from streams.topics import COMPACTED, TOPICS, TopicSpec, item_topics, raw_topics, with_raw

STATE_CONFIG: Mapping[str, str] = {"cleanup.policy": "compact", **COMPACTED}
"""Of changelogs and of topics of data keys, which stages make themselves."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it; ``problem`` is None if it is right, else says what to do."""

    name: str
    partitions: int | None
    problem: str | None


def topic_config(spec: TopicSpec) -> dict[str, str]:
    """The topic's configuration at the broker."""
    config: dict[str, str] = {"cleanup.policy": spec.cleanup}
    if spec.retention_ms is not None:
        config["retention.ms"] = str(spec.retention_ms)
    if spec.cleanup == "compact":
        config |= COMPACTED
    return config


async def create_topics(settings: Settings, kafka: KafkaSettings) -> tuple[list[str], list[str]]:
    """Make what is missing; returns the names made and the names that were there. Raises ConfigurationError if the broker refuses."""
    specs = _specs(settings)
    admin = await connect_admin(kafka)
    try:
        existing = await partition_counts(admin, [settings.topic_prefix + spec.name for spec in specs])
        missing = [spec for spec in specs if settings.topic_prefix + spec.name not in existing]
        aligned = aligned_partitions(existing, settings.topic_prefix)
        if missing:
            response = await admin.create_topics(
                [
                    NewTopic(
                        settings.topic_prefix + spec.name,
                        _partitions(spec, aligned, existing.get(settings.topic_prefix + (spec.like or "")), settings.partitions),
                        settings.replication,
                        topic_configs=topic_config(spec),
                    )
                    for spec in missing
                ]
            )
            refused = [name for name, code, *_ in response.topic_errors if code == TopicAuthorizationFailedError.errno]
            if refused:
                raise AccessDenied([f"Create topic {name}" for name in refused])
            for name, code, *rest in response.topic_errors:
                if code not in (0, 36):  # 36: somebody else has just made it
                    why = rest[0] if rest and rest[0] else for_code(code).__name__
                    raise ConfigurationError(
                        f"the broker refused to make topic {name}: {why}; see VEILSTREAM_PARTITIONS and VEILSTREAM_REPLICATION"
                    )
        return [settings.topic_prefix + s.name for s in missing], [settings.topic_prefix + s.name for s in specs if s not in missing]
    except KafkaError as error:
        raise ConfigurationError(f"the broker refused to make the topics: {type(error).__name__}") from error
    finally:
        await admin.close()


async def check_topics(settings: Settings, kafka: KafkaSettings, states: Collection[str] = ()) -> list[TopicState]:
    """Compare every topic with the table, and each of ``states`` that is there with what stages make for what they keep."""
    admin = await connect_admin(kafka)
    try:
        names = {settings.topic_prefix + spec.name: spec for spec in _specs(settings)}
        described = await partition_counts(admin, names)
        logs = await partition_counts(admin, states)
        configs = {name: await _config(admin, name) for name in (*names, *logs) if name in described or name in logs}
        aligned = aligned_partitions(described, settings.topic_prefix)
        return [
            TopicState(
                name,
                described.get(name),
                partitions_problem(name, spec, described.get(name), aligned, described.get(settings.topic_prefix + (spec.like or "")))
                or config_problem(name, topic_config(spec), configs.get(name, {}), kafka.bootstrap_servers),
            )
            for name, spec in names.items()
        ] + [
            TopicState(name, count, config_problem(name, STATE_CONFIG, configs[name], kafka.bootstrap_servers))
            for name, count in logs.items()
        ]
    finally:
        await admin.close()


def aligned_partitions(counts: Mapping[str, int], prefix: str) -> int | None:
    """Partitions that all co-partitioned topics must have, by the first of them that exists."""
    return next((counts[prefix + spec.name] for spec in TOPICS if spec.co_partitioned and prefix + spec.name in counts), None)


async def _config(admin: object, name: str) -> dict[str, str]:
    """Empty if the broker does not tell. Raises AccessDenied if it would tell others."""
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])  # type: ignore[attr-defined]
    except KafkaError:
        return {}
    found: dict[str, str] = {}
    for answer in answers:
        for resource in answer.resources:
            if resource[0] == TopicAuthorizationFailedError.errno:
                raise AccessDenied([f"DescribeConfigs topic {name}"])
            found |= {entry[0]: str(entry[1]) for entry in resource[4]}
    return found


def _specs(settings: Settings) -> tuple[TopicSpec, ...]:
    return with_raw(raw_topics(settings.source_topics), item_topics(settings.items_source_topics))


def _partitions(spec: TopicSpec, aligned: int | None, like: int | None, usual: int) -> int:
    if spec.single_partition:
        return 1
    if spec.like is not None:
        return like or usual  # the partitions of one number, of all topics of a stage, take turns
    return (spec.co_partitioned and aligned) or usual


def partitions_problem(name: str, spec: TopicSpec, partitions: int | None, aligned: int | None, like: int | None) -> str | None:
    """What is wrong with a topic's number of partitions, and what to do. ``aligned``: what all co-partitioned topics have; ``like``: what
    the topic has that this one must equal."""
    if partitions is None:
        return "missing; run `veilstream topics create`"
    if spec.like is not None and partitions != like:
        return f"has {partitions} partitions, {spec.like} has {like}; make it anew with as many"
    if spec.co_partitioned and partitions != aligned:
        return f"has {partitions} partitions, the others that must match have {aligned}; make it anew with as many"
    if spec.single_partition and partitions != 1:
        return f"has {partitions} partitions instead of 1; make it anew"
    return None


def config_problem(name: str, wanted: Mapping[str, str], config: Mapping[str, str], servers: str) -> str | None:
    """What is wrong with a topic's configuration, as far as it is known, and the command that mends it at the brokers ``servers``."""
    wrong = {key: config[key] for key, value in wanted.items() if key in config and not _is_as_good(key, config[key], value)}
    if wrong:
        fix = ",".join(f"{key}={wanted[key]}" for key in wrong)
        said = "; ".join(f"{key} is {value} instead of {wanted[key]}" for key, value in wrong.items())
        command = f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {name} --add-config {fix}"
        return f"{said}; {command}"
    return None


def _is_as_good(key: str, value: str, wanted: str) -> bool:
    """Whether a topic's configuration keeps nothing longer, or less well, than the table says. How soon it is cleaned besides is the
    operator's choice."""
    if key == "cleanup.policy":
        return wanted in value.split(",")
    if key == "retention.ms":
        return value == "-1" if wanted == "-1" else value != "-1" and int(value) <= int(wanted)
    return key != "max.compaction.lag.ms" or int(value) <= int(wanted)
