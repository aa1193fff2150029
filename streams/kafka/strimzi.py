"""The topics as Strimzi's KafkaTopic resources, for Kubernetes. Pure."""

from __future__ import annotations

import re
from typing import Any

import yaml

from streams.errors import ConfigurationError
from streams.kafka.topic_setup import topic_config
from streams.settings import Settings
from streams.topics import TopicSpec, item_topics, raw_topics, with_raw

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9.-]+")


def resource_name(topic: str) -> str:
    """The resource's name of a topic: a topic's name may hold capitals and underscores, a resource's may not.

    >>> resource_name("Shop_behaviour.raw")
    'shop-behaviour.raw'
    """
    return _NOT_IN_A_NAME.sub("-", topic.lower()).strip(".-")


def kafka_topic(spec: TopicSpec, settings: Settings, *, cluster: str) -> dict[str, Any]:
    """One KafkaTopic, with the partitions, replicas and configuration that ``veilstream topics create`` would give the topic."""
    topic = settings.topic_prefix + spec.name
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {
            "name": resource_name(topic),
            "labels": {"strimzi.io/cluster": cluster, "app.kubernetes.io/part-of": "veilstream"},
        },
        "spec": {
            "topicName": topic,
            "partitions": 1 if spec.single_partition else settings.partitions,
            "replicas": settings.replication,
            "config": topic_config(spec),
        },
    }


def manifests(settings: Settings, *, cluster: str) -> str:
    """YAML documents, one a topic, the shop's own included.

    Raises ConfigurationError where a setting names topics that can't be, and for two topics whose resources would have one name.
    """
    specs = with_raw(raw_topics(settings.source_topics), item_topics(settings.items_source_topics))
    topics = [kafka_topic(spec, settings, cluster=cluster) for spec in specs]
    by_name: dict[str, str] = {}
    for topic in topics:
        name, full = topic["metadata"]["name"], topic["spec"]["topicName"]
        if name in by_name:
            raise ConfigurationError(f"topics {by_name[name]} and {full} would both be the resource {name}; rename one of them")
        by_name[name] = full
    return str(yaml.safe_dump_all(topics, sort_keys=False, explicit_start=True, width=120))
