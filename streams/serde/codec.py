"""Encodes and decodes values: Confluent framing (magic byte 0, four-byte schema id, Avro body), or JSON if a header says so."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import fastavro
import orjson
from fastavro.schema import parse_schema

import schemas
from streams.errors import Reason, RecordError
from streams.serde.compiled import compile_reader, compile_writer
from streams.serde.compiled_reader import NotFiniteError
from streams.serde.http_registry import HttpRegistry
from streams.serde.json_repairs import REPAIRS
from streams.serde.json_values import JsonFields
from streams.serde.local_registry import LocalRegistry, SchemaRegistry
from streams.serde.registry_access import RegistryAccess
from streams.serde.writer_schema import parse_writer, without_logical_types
from streams.settings import Settings
from streams.topics import BEHAVIOUR_RAW, CATALOGUE_ITEMS, CONSENT_UPDATES, PRIVACY_ERASURE

Finite = Callable[[Any], bool]

DEFAULT_MAX_BYTES = 1_048_576
PRODUCER_TOPICS = frozenset({BEHAVIOUR_RAW, CATALOGUE_ITEMS, CONSENT_UPDATES, PRIVACY_ERASURE})
"""Topics whose producers may send JSON."""

Headers = Sequence[tuple[str, bytes | None]]
"""As a client gives them; Kafka lets a header have no value."""

_HEADER = 5
_REFUSED_KEPT = 1000


class Codec:
    """Encodes and decodes one topic's values. Timestamps are plain milliseconds: the logical types are for other readers.

    With ``only`` decoding may leave out all other fields (``items.item_id`` names a field of the records in an array); it does so
    for values of the product's own schema, which is where it saves time.
    """

    def __init__(
        self, topic: str, registry: SchemaRegistry, max_bytes: int = DEFAULT_MAX_BYTES, only: Collection[str] | None = None
    ) -> None:
        self.topic = topic
        self._registry = registry
        self._max_bytes = max_bytes
        raw = json.loads(schemas.current(topic))
        self._kinds: dict[str, Any] = {field["name"]: field["type"] for field in raw["fields"]}
        self._reader: Any = parse_schema(without_logical_types(raw))
        self._json = JsonFields(raw["fields"], REPAIRS) if topic in PRODUCER_TOPICS else None
        # Producers' numbers are the stages' to judge, by field, so that an operator can mend them; in what the product itself
        # writes, a NaN is a fault that must not spread.
        self._finite = None if topic in PRODUCER_TOPICS else finite_test(self._reader)
        own_id = registry.id_for(topic)
        self._prefix = b"\x00" + own_id.to_bytes(4, "big")
        schema = cast("dict[str, Any]", self._reader)
        self._write = compile_writer(schema)
        self._read = compile_reader(schema, only=only, finite=self._finite is not None)
        self._writers: dict[int, Any] = {own_id: self._reader}
        self._refused: dict[int, RecordError] = {}

    @property
    def kinds(self) -> Mapping[str, Any]:
        """The Avro type of each of the value's fields."""
        return self._kinds

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """A framed value. Raises ValueError (or a subclass of it, or TypeError) where the record does not fit the schema."""
        if self._write is not None:
            try:
                return self._prefix + self._write(record)
            except (KeyError, AttributeError, struct.error) as error:
                raise ValueError(f"the record does not fit the schema of {self.topic} ({type(error).__name__})") from None
        out = io.BytesIO()
        out.write(self._prefix)
        fastavro.schemaless_writer(out, self._reader, cast("dict[str, Any]", record))
        return out.getvalue()

    def decode(self, value: bytes | None, headers: Headers = ()) -> dict[str, Any]:
        """The value's fields in the current schema. Raises RecordError that says why not; the message holds nothing of it."""
        if not value:
            raise RecordError(Reason.EMPTY, "the value is empty")
        if len(value) > self._max_bytes:
            raise RecordError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {self._max_bytes} are read")
        if headers and self.is_json(headers):
            return self.from_json(json_object(value))
        if value[0] != 0 or len(value) < _HEADER:
            raise RecordError(Reason.BAD_FRAMING, "not Confluent framing; for JSON set the header content-type: application/json")
        if self._read is not None and value.startswith(self._prefix):
            return self._decode_own(value)
        schema_id = int.from_bytes(value[1:_HEADER], "big")
        writer = self._writers.get(schema_id) or self._writer(schema_id)
        body = io.BytesIO(value)
        body.seek(_HEADER)
        try:
            decoded = fastavro.schemaless_reader(body, writer, None if writer is self._reader else self._reader)
        except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes lead it into
            raise RecordError(Reason.UNDECODABLE, f"the body does not fit schema {schema_id} ({type(error).__name__})") from None
        if body.tell() != len(value):
            raise RecordError(Reason.UNDECODABLE, f"{len(value) - body.tell()} bytes are left over after the body")
        if self._finite is not None and not self._finite(decoded):
            raise RecordError(Reason.UNDECODABLE, "a number in it is not finite")
        return cast("dict[str, Any]", decoded)

    async def prepare(self, value: bytes | None) -> None:
        """For callers on an event loop who would only wait: before ``decode``, so that the registry is waited for
        in a thread. Raises TransientError if it does not answer."""
        if value is None or len(value) < _HEADER or value[0] != 0:
            return
        schema_id = int.from_bytes(value[1:_HEADER], "big")
        if schema_id not in self._writers and schema_id not in self._refused:
            with contextlib.suppress(RecordError):
                await asyncio.to_thread(self._writer, schema_id)

    def _decode_own(self, value: bytes) -> dict[str, Any]:
        """A value written with the current schema."""
        if self._read is None:
            raise TypeError(f"there is no compiled reader of {self.topic}")
        try:
            decoded, end = self._read(value, _HEADER)
        except NotFiniteError as error:
            raise RecordError(Reason.UNDECODABLE, str(error)) from None
        except (ValueError, IndexError, struct.error) as error:
            raise RecordError(Reason.UNDECODABLE, f"the body does not fit its schema ({type(error).__name__})") from None
        if end != len(value):
            what = f"{len(value) - end} bytes are left over after the body" if end < len(value) else "the body is cut off"
            raise RecordError(Reason.UNDECODABLE, what)
        return decoded

    def has_met(self, schema_id: int) -> bool:
        """Whether the registry has given a schema for this id, to this codec. Asks nobody."""
        return schema_id in self._writers or schema_id in self._refused

    def is_json(self, headers: Headers) -> bool:
        """Whether a value with these headers is read as JSON."""
        return self._json is not None and says_json(headers)

    def from_json(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a JSON object. Raises RecordError if it does not fit, TypeError for topics that take no JSON."""
        if self._json is None:
            raise TypeError(f"{self.topic} takes no JSON")
        return self._json.conform(value)

    def _writer(self, schema_id: int) -> Any:
        refused = self._refused.get(schema_id)
        if refused is not None:
            raise RecordError(refused.reason, refused.detail)
        text = self._registry.schema(schema_id)
        if text is None:
            raise RecordError(Reason.UNKNOWN_SCHEMA, "its schema id is not known")
        try:
            parsed = parse_writer(text, self._reader["name"])
        except RecordError as error:
            if len(self._refused) < _REFUSED_KEPT:
                self._refused[schema_id] = error
            raise
        self._writers[schema_id] = parsed
        return parsed


class Codecs:
    """The codecs of all topics, made when first asked for."""

    def __init__(self, registry: SchemaRegistry, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        self._codecs: dict[str, Codec] = {}

    def for_topic(self, topic: str) -> Codec:
        """The codec of a topic, by its name without prefix. Raises KeyError if the product has no such topic."""
        if topic not in self._codecs:
            self._codecs[topic] = Codec(topic, self._registry, self._max_bytes)
        return self._codecs[topic]

    def has_met(self, schema_id: int) -> bool:
        """Whether a codec of ``for_topic`` was given a schema for this id. Of any other number nobody knows that it is an id: it may be
        four bytes of something else."""
        return any(codec.has_met(schema_id) for codec in list(self._codecs.values()))

    def ask_ids(self, topics: Iterable[str]) -> None:
        """Ask the registry for the ids of these topics now: on an event loop ``for_topic`` does not wait for it. Raises as the
        registry does."""
        for topic in topics:
            self._registry.id_for(topic)

    def reading(self, topic: str, only: Collection[str]) -> Codec:
        """A codec whose ``decode`` need not give other fields than these. Raises KeyError as above and for unknown fields."""
        return Codec(topic, self._registry, self._max_bytes, only)


def local_codecs(max_bytes: int = DEFAULT_MAX_BYTES) -> Codecs:
    """Codecs over the schemas that the product carries."""
    return Codecs(LocalRegistry(), max_bytes)


def open_codecs(settings: Settings, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Codecs:
    """Codecs over the registry of the settings, or over the local one where they name none. Raises ConfigurationError."""
    if settings.registry_url is None:
        return local_codecs(max_bytes)
    registry = HttpRegistry(
        RegistryAccess.from_settings(settings),
        topic_prefix=settings.topic_prefix,
        strategy=settings.registry_subjects,
        cache=settings.registry_cache,
    )
    return Codecs(registry, max_bytes)


async def open_codec(topic: str, settings: Settings) -> Codec:
    """One topic's codec as of ``open_codecs``, for callers on an event loop: the registry is asked in a thread."""
    return await asyncio.to_thread(lambda: open_codecs(settings).for_topic(topic))


def says_json(headers: Headers) -> bool:
    """Whether the first content-type header is application/json, with or without parameters."""
    for name, value in headers:
        if name.lower() == "content-type":
            return value is not None and value.split(b";", 1)[0].strip().lower() == b"application/json"
    return False


def json_object(value: bytes) -> dict[str, Any]:
    """The JSON object in a value. Raises RecordError if it holds none."""
    try:
        decoded = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise RecordError(Reason.UNDECODABLE, "the header says JSON, but the value is not JSON") from None
    if not isinstance(decoded, dict):
        raise RecordError(Reason.UNDECODABLE, "the JSON value is not an object")
    return decoded


def finite_test(kind: Any) -> Finite | None:
    """A test that all floating-point numbers of a value of this Avro type are finite; None if it can hold none."""
    if isinstance(kind, list):
        tests = [test for test in map(finite_test, kind) if test is not None]
        return (lambda value: all(test(value) for test in tests)) if tests else None
    if isinstance(kind, dict):
        return _of_complex(kind)
    return _is_finite if kind in ("double", "float") else None


def _is_finite(value: Any) -> bool:
    return type(value) is not float or math.isfinite(value)


def _of_complex(kind: dict[str, Any]) -> Finite | None:
    if kind["type"] == "record":
        fields = [(field["name"], test) for field in kind["fields"] if (test := finite_test(field["type"])) is not None]
        return (lambda value: not isinstance(value, dict) or all(test(value[name]) for name, test in fields)) if fields else None
    if kind["type"] == "array":
        element = finite_test(kind["items"])
        return (lambda value: not isinstance(value, list) or all(map(element, value))) if element else None
    if kind["type"] == "map":
        values = finite_test(kind["values"])
        return (lambda value: not isinstance(value, dict) or all(map(values, value.values()))) if values else None
    return finite_test(kind["type"]) if kind["type"] not in ("enum", "fixed") else None
