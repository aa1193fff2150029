"""Sources of schema ids: the product's own schemas, or a Confluent-compatible registry over HTTP."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fastavro.schema import fingerprint, to_parsing_canonical_form

import schemas
from streams.errors import ConfigurationError, TransientError

UNKNOWN_FOR_S = 60.0
"""Time for which an unknown id is not requested again, seconds. A registry may lag behind its peers."""
KEPT = 1000
MAX_ID = 2**31
"""Ids are positive 32-bit integers. Registries fail in different ways for other ids."""
TIMEOUT_S = 2.0
"""Maximum time that a call waits, seconds. The open request continues in its thread."""
ANSWER_S = 5.0
"""How long a registry may say nothing."""
LONGEST_S = 10.0
"""The most that reading one answer may take."""
AWAY_S = 1.0
"""Time for which no request is sent after a registry did not answer, seconds."""

V = TypeVar("V")

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MAX_ANSWER = 1_048_576
_NOT_FOUND = frozenset({40401, 40402, 40403})  # subject, version, schema


class HttpRegistry:
    """Asks the registry once per id and keeps the answer.

    - Calls are synchronous, because decoding is. The request runs in a thread, and the call waits at most ``TIMEOUT_S``.
    - If the registry does not answer, or not in time, the call raises TransientError. This is never a fault of the record.
    - A later call gets an answer that arrived meanwhile. While a request is open, and for ``AWAY_S`` after a failure, calls raise
      at once.
    - An id that the registry does not know is not requested again for ``UNKNOWN_FOR_S``.

    Limits: if an id is first needed inside a decode, the caller's event loop is blocked until the answer arrives. That is usually
    some milliseconds, and ``TIMEOUT_S`` at most; calls right after it do not block. Records with ever new ids, which no producer
    writes, cost a request each. ``id_for`` makes at most two requests, at start. Callers that may await do all of this in a thread:
    see ``open_codec``.
    """

    def __init__(self, url: str, *, topic_prefix: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError if the address can't be one."""
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError("VEILSTREAM_REGISTRY_URL must be http://host[:port] or https://host[:port]")
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("VEILSTREAM_REGISTRY_URL must not hold a user or password; they would show up in logs")
        self._url = url.rstrip("/")
        self._prefix = topic_prefix
        self._monotonic = monotonic
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, str] = {}
        self._unknown: dict[int, float] = {}
        self._questions: dict[str, _Question] = {}
        self._away_until = 0.0
        self._lock = threading.Lock()

    def id_for(self, topic: str) -> int:
        """Look up the current schema, and register it if the registry lacks it. Raises ConfigurationError if the registry refuses it,
        TransientError if it does not answer.
        """
        if topic not in self._ids:
            subject = f"{self._prefix}{topic}-value"
            path = f"/subjects/{urllib.parse.quote(subject, safe='')}"
            body = json.dumps({"schemaType": "AVRO", "schema": schemas.current(topic)}).encode()
            answer = self._ask(path, body, subject) or self._ask(f"{path}/versions", body, subject)
            schema_id = answer.get("id") if answer else None
            if type(schema_id) is not int or not 0 <= schema_id < MAX_ID:
                raise ConfigurationError(f"the schema registry at {self._url} gave no id for subject {subject}")
            self._ids[topic] = schema_id
        return self._ids[topic]

    def schema(self, schema_id: int) -> str | None:
        """As SchemaRegistry says. Raises TransientError if the registry does not answer."""
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        if not 0 <= schema_id < MAX_ID:
            return None
        now = self._monotonic()
        if self._unknown.get(schema_id, 0.0) > now:
            return None
        answer = self._ask(f"/schemas/ids/{schema_id}", None, f"schema id {schema_id}")
        text = answer.get("schema") if answer and answer.get("schemaType", "AVRO") == "AVRO" else None
        if isinstance(text, str):
            _keep(self._schemas, schema_id, text)
            return text
        _keep(self._unknown, schema_id, now + UNKNOWN_FOR_S)
        return None

    def _ask(self, path: str, body: bytes | None, what: str) -> dict[str, Any] | None:
        """The answer, None if the registry says that it has no such thing."""
        with self._lock:
            question = self._questions.get(path)
            if question is None:
                if self._monotonic() < self._away_until:
                    raise self._away("it did not a moment ago")
                question = self._questions[path] = _Question(lambda: self._fetch(path, body, what))
        # After one call has waited without success, no call waits again, because it may block an event loop.
        if not question.done.wait(0.0 if question.waited_for else TIMEOUT_S):
            question.waited_for = True
            raise self._away("it is slow")
        with self._lock:
            if self._questions.get(path) is question:
                del self._questions[path]
            if isinstance(question.error, _NoAnswerError):
                self._away_until = self._monotonic() + AWAY_S
        if question.error is not None:
            raise question.error
        return question.answer

    def _fetch(self, path: str, body: bytes | None, what: str) -> dict[str, Any] | None:
        headers = {"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - __init__ checks the scheme
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:  # noqa: S310
                text = _read(reply, time.monotonic() + LONGEST_S)
            # No schema of the product is this large, and a retry would not make it smaller.
            answer = json.loads(text) if len(text) <= _MAX_ANSWER else None
        except urllib.error.HTTPError as error:
            self._check_refusal(error, what, reading=body is None)
            return None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise self._away(type(error).__name__) from error
        return answer if isinstance(answer, dict) else None

    def _away(self, why: str) -> TransientError:
        return _NoAnswerError(f"the schema registry at {self._url} does not answer ({why}); see VEILSTREAM_REGISTRY_URL")

    def _check_refusal(self, error: urllib.error.HTTPError, what: str, *, reading: bool) -> None:
        """Returns where the answer is a plain "not found" or "no such id"; raises what any other means."""
        try:
            code = json.loads(_read(error, time.monotonic() + LONGEST_S)).get("error_code")
        except (OSError, http.client.HTTPException, ValueError, AttributeError, RecursionError):
            code = None
        finally:
            error.close()
        if (error.code == 404 and code in _NOT_FOUND) or (reading and error.code in (400, 422)):
            return
        if error.code in (401, 403, 405, 409, 422):
            raise ConfigurationError(
                f"the schema registry at {self._url} refused {what} (HTTP {error.code}, error code {code}); "
                "allow it there, or register schemas/avro/ by hand"
            ) from error
        # A 404 that does not have the registry's format comes from something in front of it. It must not refuse every record.
        raise TransientError(f"the schema registry at {self._url} answered HTTP {error.code} for {what}") from error


class _NoAnswerError(TransientError):
    """As opposed to an answer that is an error."""


class _Question:
    """Send the request in a thread that does not keep the process from ending."""

    def __init__(self, ask: Callable[[], dict[str, Any] | None]) -> None:
        self.done = threading.Event()
        self.waited_for = False
        """A call waited for the maximum time without success."""
        self.answer: dict[str, Any] | None = None
        self.error: Exception | None = None
        self._ask = ask
        threading.Thread(target=self._run, name="schema registry", daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            self.error = error
        finally:
            self.done.set()


def _read(reply: Any, deadline: float) -> bytes:
    """The answer, cut off where it is too long. The timeout of a connection is for each read of it. Raises TimeoutError."""
    parts: list[bytes] = []
    while sum(map(len, parts)) <= _MAX_ANSWER and (part := reply.read1(65_536)):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer arrives too slowly")
    return b"".join(parts)


def _keep(kept: dict[int, V], key: int, value: V) -> None:
    """Ids come off the wire, so what is remembered of them is bounded; the oldest goes."""
    kept.pop(key, None)
    if len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


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
