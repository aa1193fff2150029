"""Every schema is documented, belongs to a topic, and is compatible with all its released versions both ways."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, parse

import schemas
from schemas import freeze
from streams.topics import BEHAVIOUR_CLEAN, BY_NAME
from tests.support import ROOT

TOPICS = schemas.topic_names()


def readable(reader: Schema, writer: Schema) -> bool:
    answer = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)  # type: ignore[no-untyped-call]
    return bool(answer.compatibility is SchemaCompatibilityType.compatible)


def changed(topic: str, field: str, **change: Any) -> str:
    """The topic's current schema with one field changed."""
    schema = json.loads(schemas.current(topic))
    next(f for f in schema["fields"] if f["name"] == field).update(change)
    return json.dumps(schema)


def named_fields(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for part in node:
            yield from named_fields(part, path)
    elif isinstance(node, dict):
        if node.get("type") == "record":
            yield f"{path}{node['name']}", node
            for field in node["fields"]:
                yield f"{path}{node['name']}.{field['name']}", field
                yield from named_fields(field["type"], f"{path}{node['name']}.")
        else:
            for key in ("items", "values", "type"):
                yield from named_fields(node.get(key), path)


def test_every_topic_has_a_schema_and_every_schema_a_topic() -> None:
    assert set(TOPICS) == set(BY_NAME)


@pytest.mark.parametrize("topic", TOPICS)
def test_full_transitive(topic: str) -> None:
    versions = [parse(text) for text in [*schemas.released(topic), schemas.current(topic)]]
    assert len(versions) >= 2, "the first version is released"
    for older in versions:
        for newer in versions:
            assert readable(newer, older) and readable(older, newer)


def test_the_checker_refuses_what_is_incompatible() -> None:
    current = parse(schemas.current(BEHAVIOUR_CLEAN))
    widened = parse(changed(BEHAVIOUR_CLEAN, "quantity", type="long"))
    assert readable(widened, current) and not readable(current, widened)
    retyped = parse(changed(BEHAVIOUR_CLEAN, "event_type", type="int"))
    assert not readable(retyped, current) and not readable(current, retyped)
    schema = json.loads(schemas.current(BEHAVIOUR_CLEAN))
    schema["fields"].append({"name": "added", "type": "string"})
    added_without_default = parse(json.dumps(schema))
    assert not readable(added_without_default, current) and readable(current, added_without_default)
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in ("pseudonym", "added")]
    assert not readable(current, parse(json.dumps(schema)))


@pytest.mark.parametrize("topic", TOPICS)
def test_every_record_and_field_is_documented(topic: str) -> None:
    schema = json.loads(schemas.current(topic))
    assert schema["namespace"].startswith("io.veilstream.")
    for name, node in named_fields(schema):
        assert node.get("doc", "").strip(), f"{topic}: {name} has no doc"


@pytest.mark.parametrize("topic", TOPICS)
def test_times_are_logical_types(topic: str) -> None:
    for name, field in named_fields(json.loads(schemas.current(topic))):
        if name.rsplit(".", 1)[-1].endswith(("_at", "_timestamp", "as_of")) and not name.endswith("BehaviourEvent.occurred_at"):
            assert "timestamp-millis" in json.dumps(field["type"]), name


@pytest.mark.parametrize("topic", TOPICS)
def test_optional_fields_have_defaults(topic: str) -> None:
    for name, field in named_fields(json.loads(schemas.current(topic))):
        if isinstance(field.get("type"), list) and "null" in field["type"]:
            assert field.get("default", "none") is None, f"{topic}: {name}"


def test_a_topic_without_schema_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        schemas.current("no.such")
    assert schemas.released("no.such") == []


def test_a_release_keeps_its_schemas() -> None:
    """Without a registry, readers know the ids of released schemas only: what a worker of this release wrote would be refused later."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ".dev" in project["version"] or freeze.unreleased() == [], "a new schema: `.dev` in the version until `python -m schemas.freeze`"


def test_a_new_schema_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = json.loads(schemas.current("models"))
    changed["fields"].append({"name": "more", "type": "string", "default": ""})
    monkeypatch.setattr(schemas, "current", {"models": json.dumps(changed)}.__getitem__)
    monkeypatch.setattr(schemas, "topic_names", lambda: ["models"])
    monkeypatch.setattr(freeze, "_RELEASED", tmp_path)
    assert freeze.unreleased() == ["models"]
    kept = freeze.freeze("models")
    assert json.loads(kept.read_text(encoding="utf-8")) == changed and kept.name == f"{len(schemas.released('models')) + 1}.avsc"
    released = schemas.released("models")
    monkeypatch.setattr(schemas, "released", lambda topic: [*released, kept.read_text(encoding="utf-8")])
    assert freeze.unreleased() == []
