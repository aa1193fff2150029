"""The AsyncAPI document is valid by the official schema, and says what producers and subscribers may do."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from docs.generator import asyncapi
from streams.topics import TOPICS
from tests.support import ROOT

DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi.document())
SCHEMA = ROOT / "tests" / "docs" / "asyncapi-3.0.0.schema.json"


@pytest.fixture(scope="module")
def validator() -> Any:
    try:
        from jsonschema import Draft7Validator
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("jsonschema is not installed: it is in the dependency group dev (requirements-dev.lock)")
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_it_is_valid(validator: Any) -> None:
    assert [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("operations", "producers.behaviour.raw", "action"), "publish"),
        (("channels", "behaviour.raw", "bindings", "kafka", "partitions"), 0),
        (("components", "messages", "BehaviourEvent", "payload", "schema", "fields"), "none"),
    ],
)
def test_what_is_wrong_is_found(validator: Any, path: tuple[str, ...], value: object) -> None:
    """So that the check above can fail."""
    document: Any = json.loads(json.dumps(DOCUMENT))
    part = document
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    assert list(validator.iter_errors(document))


def test_it_has_the_topics_of_those_outside_and_no_other() -> None:
    expected = {spec.name for spec in TOPICS if "producers" in spec.writers or {"subscribers", "analysts"} & set(spec.readers)}
    assert (
        set(DOCUMENT["channels"])
        == expected
        == {
            *("behaviour.raw", "catalogue.items", "consent.updates", "privacy.erasure", "recommendations", "feedback"),
        }
    )


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) == len(DOCUMENT["channels"]) + len(DOCUMENT["operations"])
    for target in found:
        part: Any = DOCUMENT
        for name in target.removeprefix("#/").split("/"):
            part = part[name]


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [target for value in part.values() for target in references(value)]
    return [target for value in part for target in references(value)] if isinstance(part, list) else []
