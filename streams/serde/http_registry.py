"""Schema ids from a Confluent-compatible registry over HTTP (Confluent, Karapace, Apicurio)."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import schemas
from streams.errors import ConfigurationError, TransientError
from streams.serde.registry_access import RegistryAccess
from streams.serde.registry_cache import RegistryCache
from streams.serde.registry_http import AWAY_S, NoAnswerError, NoRegistryError, RegistryHttp
from streams.serde.subjects import SubjectStrategy, subject_of

log = logging.getLogger(__name__)

UNKNOWN_FOR_S = 60.0
"""Time for which an unknown id is not requested again, seconds. A registry may lag behind its peers."""
KEPT = 1000
MAX_ID = 2**31
"""Ids are positive 32-bit integers. Registries fail in different ways for other ids."""
TIMEOUT_S = 2.0
"""Maximum time that a call waits, seconds. The open request continues in its thread."""

V = TypeVar("V")


class HttpRegistry:
    """Asks the registry once per id and keeps the answer, also on disk (``cache``).

    - A request runs in a thread of its own. A call waits for it, ``TIMEOUT_S`` at most. A call on an event loop never waits: it raises
      TransientError, and a later call gets the answer.
    - If the registry does not answer, or not in time, the answer of an earlier process counts, from ``cache``. Without one the call
      raises TransientError. This is never a fault of the record.
    - While a request is late, and for ``AWAY_S`` after a failure (or as long as the registry said), calls do not wait.
    - An id that the registry does not know is not requested again for ``UNKNOWN_FOR_S``.

    A registry that answers always has the last word over the cache: it may have been set up anew. Limits: records with ever new ids,
    which no producer writes, cost a request each.
    """

    def __init__(
        self,
        access: RegistryAccess,
        *,
        topic_prefix: str = "",
        strategy: SubjectStrategy = "TopicName",
        cache: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = access.url
        self._http = RegistryHttp(access)
        self._prefix = topic_prefix
        self._strategy = strategy
        self._cache = RegistryCache(cache, access.url) if cache is not None else None
        self._monotonic = monotonic
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, str] = {}
        self._unknown: dict[int, float] = {}
        self._questions: dict[str, _Question] = {}
        self._away_until = 0.0
        self._lock = threading.Lock()

    def id_for(self, topic: str) -> int:
        """Look up the current schema, and register it if the registry lacks it: two requests at most. Raises ConfigurationError if the
        registry refuses it or none is there, TransientError if it does not answer and no id is cached.
        """
        if topic not in self._ids:
            text = schemas.current(topic)
            subject = subject_of(self._strategy, self._prefix + topic, text)
            self._ids[topic] = self._id_of(subject, text)
        return self._ids[topic]

    def _id_of(self, subject: str, text: str) -> int:
        path = f"/subjects/{urllib.parse.quote(subject, safe='')}"
        body = json.dumps({"schemaType": "AVRO", "schema": text}).encode()

        def register() -> dict[str, Any] | None:
            answer = self._http.ask(path, body, subject) or self._http.ask(f"{path}/versions", body, subject)
            if self._cache is not None and answer is not None and _is_id(answer.get("id")):
                self._differs(self._cache.id_of(subject, text) not in (None, answer["id"]), subject)
                self._cache.keep_id(subject, text, answer["id"])
            return answer

        try:
            answer = self._ask(path, register)
        except TransientError as error:
            cached = self._cache.id_of(subject, text) if self._cache is not None else None
            if cached is not None and not isinstance(error, _AskedError):
                log.warning("%s; the cached id of %s is used", error, subject)
                return cached
            if isinstance(error, NoRegistryError):
                raise ConfigurationError(str(error)) from None
            raise
        schema_id = answer.get("id") if answer else None
        if not _is_id(schema_id):
            raise ConfigurationError(f"the schema registry at {self._url} gave no id for subject {subject}")
        return schema_id

    def schema(self, schema_id: int) -> str | None:
        """As SchemaRegistry says. Raises TransientError if the registry does not answer, or does not accept who asks, or a file with a
        secret can't be read: this may be mended while the worker waits."""
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        if not 0 <= schema_id < MAX_ID:
            return None
        now = self._monotonic()
        if self._unknown.get(schema_id, 0.0) > now:
            return None
        path = f"/schemas/ids/{schema_id}"
        try:
            answer = self._ask(path, lambda: self._fetch(path, schema_id))
        except (TransientError, ConfigurationError) as error:
            cached = self._cache.schema(schema_id) if self._cache is not None else None
            if cached is None or isinstance(error, _AskedError):
                raise error if isinstance(error, TransientError) else TransientError(str(error)) from None
            log.warning("%s; the cached schema %d is used", error, schema_id)
            _keep(self._schemas, schema_id, cached)
            return cached
        text = _avro(answer)
        if text is not None:
            _keep(self._schemas, schema_id, text)
            return text
        _keep(self._unknown, schema_id, now + UNKNOWN_FOR_S)
        return None

    def _fetch(self, path: str, schema_id: int) -> dict[str, Any] | None:
        answer = self._http.ask(path, None, f"schema id {schema_id}")
        if self._cache is not None and (text := _avro(answer)) is not None:
            self._differs(self._cache.schema(schema_id) not in (None, text), f"schema id {schema_id}")
            self._cache.keep_schema(schema_id, text)
        return answer

    def _differs(self, is_other: bool, what: str) -> None:
        if is_other:
            log.warning("the schema registry at %s has something else for %s than before; was it set up anew?", self._url, what)

    def _ask(self, path: str, ask: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """The answer, None if the registry says that it has no such thing."""
        with self._lock:
            question = self._questions.get(path)
            if question is None:
                if self._monotonic() < self._away_until:
                    raise NoAnswerError(f"the schema registry at {self._url} does not answer (it did not a moment ago)")
                for done in [name for name, other in self._questions.items() if other.done.is_set()][: max(0, len(self._questions) - KEPT)]:
                    del self._questions[done]
                question = self._questions[path] = _Question(ask, self._monotonic())
        on_loop = _is_on_event_loop()
        # After one call has waited without success, no call waits again.
        if not question.done.wait(0.0 if on_loop or question.waited_for else TIMEOUT_S):
            is_late = question.waited_for or not on_loop or self._monotonic() - question.since >= TIMEOUT_S
            if not is_late:
                raise _AskedError(f"the schema registry at {self._url} is being asked")
            question.waited_for = True
            self._away_until = max(self._away_until, self._monotonic() + AWAY_S)
            raise NoAnswerError(f"the schema registry at {self._url} does not answer (it is slow); see VEILSTREAM_REGISTRY_URL")
        with self._lock:
            if self._questions.get(path) is question:
                del self._questions[path]
            if isinstance(question.error, NoAnswerError):
                self._away_until = self._monotonic() + question.error.away_s
        if question.error is not None:
            raise question.error
        return question.answer


class _AskedError(TransientError):
    """The answer is on its way, in all likelihood."""


class _Question:
    """Send the request in a thread that does not keep the process from ending."""

    def __init__(self, ask: Callable[[], dict[str, Any] | None], since: float) -> None:
        self.done = threading.Event()
        self.since = since
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


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < MAX_ID


def _avro(answer: dict[str, Any] | None) -> str | None:
    """The schema in an answer, if it is one of Avro."""
    text = answer.get("schema") if answer and answer.get("schemaType", "AVRO") == "AVRO" else None
    return text if isinstance(text, str) else None


def _keep(kept: dict[int, V], key: int, value: V) -> None:
    """Ids come off the wire, so what is remembered of them is bounded; the oldest goes."""
    kept.pop(key, None)
    if len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
