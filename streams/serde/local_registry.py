"""Schema ids without a registry: made from the product's own schemas."""

from __future__ import annotations

import json
from typing import Protocol

from fastavro.schema import fingerprint, to_parsing_canonical_form

import schemas


class SchemaRegistry(Protocol):
    """Schema ids of topics' values. Schemas travel as JSON text; topics are known by their names without prefix."""

    def id_for(self, topic: str) -> int:
        """The id to write the topic's current schema with, below 2^31."""
        ...

    def schema(self, schema_id: int) -> str | None:
        """The schema with this id, of any topic. None if there is none."""
        ...


class LocalRegistry:
    """Ids made from the schemas themselves, so that every process agrees without talking to another. It knows every
    released version, so that replays decode."""

    def __init__(self) -> None:
        self._by_id: dict[int, str] = {}
        self._current: dict[str, int] = {}
        for topic in schemas.topic_names():
            for text in [*schemas.released(topic), schemas.current(topic)]:
                self._by_id[local_id(text)] = text
            self._current[topic] = local_id(schemas.current(topic))

    def id_for(self, topic: str) -> int:
        return self._current[topic]

    def schema(self, schema_id: int) -> str | None:
        return self._by_id.get(schema_id)


def local_id(text: str) -> int:
    """31 bits of the CRC-64-AVRO fingerprint of the parsing canonical form (Avro 1.12 specification, "Schema Fingerprints"),
    which leaves out docs and defaults: mending those changes no id."""
    return int(fingerprint(to_parsing_canonical_form(json.loads(text)), "CRC-64-AVRO"), 16) & 0x7FFFFFFF
