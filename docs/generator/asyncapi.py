"""What producers and subscribers use, as an AsyncAPI 3.0 document: it says the topics they write and read, and the values in them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import schemas
from docs.generator.markdown import NOTICE
from streams.topics import TOPICS, TopicSpec

OUTSIDE = {"producers": "receive", "subscribers": "send", "analysts": "send"}
"""Roles of programs that are not ours, and what Veilstream does with what they write or read."""
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_DESCRIPTION = """Veilstream makes product recommendations in real time, on Kafka, without knowing who the shoppers are.

Producers write what shoppers do, what they allow, and the catalogue; subscribers read recommendations; analysts read their outcomes.

Values are Avro in Confluent's framing: byte 0, a schema id of four bytes, the body. Producers may also send JSON with the record header
`content-type: application/json`, or a shop's own form with the header `veilstream-source`.
"""


def document() -> str:
    """The document as YAML."""
    used = [spec for spec in TOPICS if any(True for _ in _uses(spec))]
    content = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Veilstream",
            "version": _version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/vnd.confluent.avro",
        "channels": {spec.name: _channel(spec) for spec in used},
        "operations": {name: operation for spec in used for name, operation in _operations(spec)},
        "components": {"messages": {_name(spec): _message(spec) for spec in used}},
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=140)
    return f"# {NOTICE.removeprefix('<!-- ').removesuffix(' -->')}\n{text}"


def _uses(spec: TopicSpec) -> Iterator[tuple[str, str]]:
    """Who outside uses a topic, and what Veilstream does there."""
    yield from ((role, "receive") for role in spec.writers if OUTSIDE.get(role) == "receive")
    yield from ((role, "send") for role in spec.readers if OUTSIDE.get(role) == "send")


def _channel(spec: TopicSpec) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": [spec.cleanup]}
    if spec.retention_ms is not None:
        configuration["retention.ms"] = spec.retention_ms
    key = f"The record's key: {spec.key}." + (" Its values name a person." if spec.raw_identity else "")
    return {
        "address": spec.name,
        "description": f"{key} VEILSTREAM_TOPIC_PREFIX, where it is set, comes before the name.",
        "messages": {_name(spec): {"$ref": f"#/components/messages/{_name(spec)}"}},
        "bindings": {"kafka": {"topic": spec.name, "topicConfiguration": configuration, "bindingVersion": "0.5.0"}},
    }


def _operations(spec: TopicSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{spec.name}"}
    for role, action in _uses(spec):
        summary = f"{role.capitalize()} {'write' if action == 'receive' else 'read'} {spec.name}."
        yield f"{role}.{spec.name}", {"action": action, "channel": channel, "summary": summary}


def _message(spec: TopicSpec) -> dict[str, Any]:
    schema = json.loads(schemas.current(spec.name))
    return {
        "name": schema["name"],
        "title": schema["name"],
        "summary": schema["doc"],
        "payload": {"schemaFormat": _AVRO, "schema": schema},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": spec.key},
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "bindingVersion": "0.5.0",
            }
        },
    }


def _name(spec: TopicSpec) -> str:
    name: str = json.loads(schemas.current(spec.name))["name"]
    return name


def _version() -> str:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    version: str = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    return version
