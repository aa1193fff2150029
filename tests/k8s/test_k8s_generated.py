"""Kafka's resources are what the tables of topics and rights say, in the files and in every overlay."""

from __future__ import annotations

import pytest
import yaml

from streams.access.rights import ROLES, rights_of
from streams.access.strimzi import kafka_user
from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.kafka.strimzi import kafka_topic, manifests, resource_name
from streams.kafka.topic_setup import topic_config
from streams.settings import Settings
from streams.topics import BY_NAME, TOPICS
from tests.support.kubernetes import K8S

PRODUCTION = Settings(partitions=12, replication=3)


def test_the_topics_are_those_of_the_table() -> None:
    text = (K8S / "base" / "topics" / "kafkatopics.yaml").read_text(encoding="utf-8")
    assert text == manifests(PRODUCTION, cluster="veilstream"), "`make manifests` writes them anew"


def test_the_users_are_those_of_the_rights() -> None:
    found = list(yaml.safe_load_all((K8S / "base" / "users" / "kafkausers.yaml").read_text(encoding="utf-8")))
    assert found == [
        kafka_user(f"User:veilstream-{role}", role, rights_of(role, PRODUCTION), cluster="veilstream", authentication="scram-sha-512")
        for role in ROLES
    ], "`make manifests` writes them anew"


def test_a_topic_is_as_topics_create_makes_it() -> None:
    found = {topic["spec"]["topicName"]: topic["spec"] for topic in yaml.safe_load_all(manifests(PRODUCTION, cluster="shop"))}
    assert list(found) == [spec.name for spec in TOPICS]
    for spec in TOPICS:
        assert found[spec.name]["partitions"] == (1 if spec.single_partition else 12)
        assert found[spec.name]["replicas"] == 3
        assert found[spec.name]["config"] == topic_config(spec)


def test_a_shop_s_own_topics_and_prefix_are_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VEILSTREAM_TOPIC_PREFIX", "Shop_")
    monkeypatch.setenv("VEILSTREAM_SOURCE_TOPICS", "raw.web=segment")
    assert run(["topics", "strimzi", "--cluster", "shop"]) == 0
    found = {topic["spec"]["topicName"]: topic for topic in yaml.safe_load_all(capsys.readouterr().out)}
    assert found["Shop_raw.web"]["spec"]["config"] == topic_config(BY_NAME["behaviour.raw"])
    assert found["Shop_raw.web"]["metadata"] == {
        "name": "shop-raw.web",
        "labels": {"strimzi.io/cluster": "shop", "app.kubernetes.io/part-of": "veilstream"},
    }


def test_two_topics_can_t_be_one_resource() -> None:
    settings = Settings(source_topics="raw_web=segment,Raw-web=segment")
    with pytest.raises(ConfigurationError, match="topics raw_web and Raw-web would both be the resource raw-web; rename one of them"):
        manifests(settings, cluster="shop")


def test_a_topic_without_retention_keeps_the_last_of_each_key() -> None:
    topic = kafka_topic(BY_NAME["models"], PRODUCTION, cluster="shop")
    assert topic["spec"]["partitions"] == 1 and topic["spec"]["config"]["cleanup.policy"] == "compact"
    assert resource_name("_A__b.") == "a-b"
