"""Under which name (subject) a registry keeps the schema of a topic's values."""

from __future__ import annotations

import json
from typing import Literal

SubjectStrategy = Literal["TopicName", "RecordName", "TopicRecordName"]
"""As Confluent's serializers name them (``value.subject.name.strategy``), without ``Strategy`` at the end."""


def subject_of(strategy: SubjectStrategy, topic: str, schema: str) -> str:
    """The subject of values of ``topic`` (full name) with this Avro record schema.

    >>> schema = '{"type": "record", "name": "RawEvent", "namespace": "io.shop", "fields": []}'
    >>> [subject_of(strategy, "raw", schema) for strategy in ("TopicName", "RecordName", "TopicRecordName")]
    ['raw-value', 'io.shop.RawEvent', 'raw-io.shop.RawEvent']
    """
    if strategy == "TopicName":
        return f"{topic}-value"
    record = json.loads(schema)
    name: str = record["name"]
    full = f"{record['namespace']}.{name}" if record.get("namespace") and "." not in name else name
    return full if strategy == "RecordName" else f"{topic}-{full}"
