"""Schema ids from a Confluent-compatible registry over HTTP; subjects are ``<topic>-value``."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import schemas
from streams.errors import ConfigurationError, TransientError

UNKNOWN_FOR_S = 60.0
"""How long an id that the registry does not know is not asked for again; a registry may lag behind its peers."""
KEPT = 1000
MAX_ID = 2**31
"""Registries' ids are positive 32-bit integers; they fail in ways of their own when asked for others."""
TIMEOUT_S = 5.0

V = TypeVar("V")

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MAX_ANSWER = 1_048_576
_NOT_FOUND = frozenset({40401, 40402, 40403})  # subject, version, schema


class HttpRegistry:
    """Asks once for an id and keeps the answer. Calls block; they happen at start, and where an id is seen first."""

    def __init__(self, url: str, *, topic_prefix: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError where the address can't be one."""
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

    def id_for(self, topic: str) -> int:
        """Looks the current schema up, and registers it where the registry lacks it. Raises ConfigurationError where the
        registry refuses it, TransientError where it does not answer."""
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
        """As SchemaRegistry says. Raises TransientError where the registry does not answer."""
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
        """The answer, None where the registry says that it has no such thing."""
        headers = {"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - __init__ checks the scheme
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                text = reply.read(_MAX_ANSWER + 1)
            # A schema of that size is none of ours, and asking again would not make it smaller.
            answer = json.loads(text) if len(text) <= _MAX_ANSWER else None
        except urllib.error.HTTPError as error:
            self._check_refusal(error, what, reading=body is None)
            return None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise TransientError(
                f"the schema registry at {self._url} does not answer ({type(error).__name__}); see VEILSTREAM_REGISTRY_URL"
            ) from error
        return answer if isinstance(answer, dict) else None

    def _check_refusal(self, error: urllib.error.HTTPError, what: str, *, reading: bool) -> None:
        """Returns where the answer is a plain "not found" or "no such id"; raises what any other means."""
        try:
            code = json.loads(error.read(_MAX_ANSWER)).get("error_code")
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
        # A 404 that is not in the registry's own words comes from something before it, and would condemn every record.
        raise TransientError(f"the schema registry at {self._url} answered HTTP {error.code} for {what}") from error


def _keep(kept: dict[int, V], key: int, value: V) -> None:
    """Ids come off the wire, so what is remembered of them is bounded; the oldest goes."""
    kept.pop(key, None)
    if len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
