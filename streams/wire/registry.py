"""Where schema ids come from: the schemas that the product carries, or a Confluent-compatible registry."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

import schemas
from streams.errors import ConfigurationError, TransientError

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_UNKNOWN_IDS_KEPT = 10_000


class SchemaRegistry(Protocol):
    """Schema ids of a topic's values. Schemas travel as JSON text."""

    def id_for(self, topic: str) -> int:
        """The id to write the topic's current schema with."""
        ...

    def schema(self, topic: str, schema_id: int) -> str | None:
        """The schema with this id, None where there is none. Topics are known by their names without prefix."""
        ...


class LocalRegistry:
    """Ids made from the schema files: a hash of the topic and the parsed schema without its docs, so that every process
    agrees without talking to another, and mending a doc changes nothing."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[str, int], str] = {}
        self._current: dict[str, int] = {}
        for topic in schemas.topic_names():
            for text in [*schemas.released(topic), schemas.current(topic)]:
                self._by_id[(topic, local_id(topic, text))] = text
            self._current[topic] = local_id(topic, schemas.current(topic))

    def id_for(self, topic: str) -> int:
        return self._current[topic]

    def schema(self, topic: str, schema_id: int) -> str | None:
        return self._by_id.get((topic, schema_id))


def local_id(topic: str, text: str) -> int:
    """A positive 31-bit id."""
    return crc32(f"{topic}\n{json.dumps(_without_docs(json.loads(text)), sort_keys=True)}".encode()) & 0x7FFFFFFF


def _without_docs(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_docs(value) for key, value in node.items() if key != "doc"}
    return [_without_docs(value) for value in node] if isinstance(node, list) else node


class HttpRegistry:
    """A Confluent-compatible registry over HTTP; subjects are ``<topic>-value``. Answers are kept."""

    def __init__(self, url: str, *, topic_prefix: str = "", fetch: Callable[[urllib.request.Request], bytes] | None = None) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError("VEILSTREAM_REGISTRY_URL must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._prefix = topic_prefix
        self._fetch = fetch or _fetch
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, str | None] = {}

    def id_for(self, topic: str) -> int:
        """Registers the current schema if need be. Raises ConfigurationError where the registry refuses it."""
        if topic not in self._ids:
            body = json.dumps({"schemaType": "AVRO", "schema": schemas.current(topic)}).encode()
            subject = urllib.parse.quote(f"{self._prefix}{topic}-value", safe="")
            answer = self._ask(f"/subjects/{subject}/versions", body)
            if answer is None or not isinstance(answer.get("id"), int):
                raise ConfigurationError(f"the schema registry at {self._url} gave no id for {topic}")
            self._ids[topic] = answer["id"]
        return self._ids[topic]

    def schema(self, topic: str, schema_id: int) -> str | None:
        if schema_id not in self._schemas:
            if len(self._schemas) >= _UNKNOWN_IDS_KEPT:
                # Random ids must not fill the memory; the known ones are asked for again.
                self._schemas.clear()
            answer = self._ask(f"/schemas/ids/{schema_id}", None)
            self._schemas[schema_id] = answer.get("schema") if answer else None
        return self._schemas[schema_id]

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any] | None:
        request = urllib.request.Request(self._url + path, data=body, headers={"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE})  # noqa: S310 - the scheme is checked
        try:
            answer = json.loads(self._fetch(request))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code in (409, 422):
                raise ConfigurationError(f"the schema registry at {self._url} refused {path}: HTTP {error.code}") from error
            raise TransientError(f"the schema registry at {self._url} answered HTTP {error.code}") from error
        except (OSError, ValueError) as error:
            raise TransientError(f"the schema registry at {self._url} does not answer ({type(error).__name__})") from error
        return answer if isinstance(answer, dict) else None


def _fetch(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the scheme is checked
        return bytes(answer.read())
