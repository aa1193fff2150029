"""What a schema registry answered, on disk: a worker starts and decodes known ids while the registry is away."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from streams.errors import ConfigurationError
from streams.files import check_trusted, replace_file

log = logging.getLogger(__name__)

KEPT = 1000
"""Most schemas, and most subjects, in a file; the oldest go first."""
MAX_BYTES = 16_777_216
_FORMAT = 1
_LOCK_S = 5.0

K = TypeVar("K")
V = TypeVar("V")


class DamagedError(ValueError):
    """The file holds something else than was written."""


@dataclass
class Contents:
    """Schema texts by id. The id of a subject counts only together with the very schema that it was given for."""

    schemas: dict[int, str] = field(default_factory=dict)
    ids: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By subject: SHA-256 of the schema's text, and its id."""


class RegistryCache:
    """One file per registry in ``folder``; several processes may share it. It never raises: without it, only a start without the
    registry is not possible. What can't be read or written is said in the log once.

    Reading happens when it is made; ``keep_…`` writes at once, so call it outside of event loops.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._url = url
        self.path = folder / f"{hashlib.blake2b(url.encode(), digest_size=8).hexdigest()}.json"
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._contents = self._read()

    def schema(self, schema_id: int) -> str | None:
        return self._contents.schemas.get(schema_id)

    def id_of(self, subject: str, text: str) -> int | None:
        """The id that this schema had in this subject."""
        known = self._contents.ids.get(subject)
        return known[1] if known is not None and known[0] == _digest(text) else None

    def keep_schema(self, schema_id: int, text: str) -> None:
        if self._contents.schemas.get(schema_id) != text:
            self._write(Contents(schemas={schema_id: text}))

    def keep_id(self, subject: str, text: str, schema_id: int) -> None:
        if self.id_of(subject, text) != schema_id:
            self._write(Contents(ids={subject: (_digest(text), schema_id)}))

    def _read(self) -> Contents:
        try:
            check_trusted(self.path, "the file of cached schemas")
            with self.path.open("rb") as file:
                return unpacked(file.read(MAX_BYTES + 1), self._url)
        except FileNotFoundError:
            return Contents()
        except ConfigurationError as error:
            self._say(f"{error}; it is not used, and written anew")
        except DamagedError as error:
            self._say(f"the cached schemas in {self.path} are damaged ({error}); they are not used, and written anew")
        except OSError as error:
            self._say(f"the cached schemas in {self.path} can't be read ({error.strerror}); see VEILSTREAM_REGISTRY_CACHE")
        return Contents()

    def _write(self, news: Contents) -> None:
        """The file as it is now, which another process may have written, and the news."""
        with self._lock:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with FileLock(f"{self.path}.lock", timeout=_LOCK_S):
                    now = self._read()
                    self._contents = Contents(
                        _newest({**self._contents.schemas, **now.schemas}, news.schemas),
                        _newest({**self._contents.ids, **now.ids}, news.ids),
                    )
                    replace_file(self.path, packed(self._contents, self._url))
            except (OSError, Timeout) as error:
                self._contents = Contents(_newest(self._contents.schemas, news.schemas), _newest(self._contents.ids, news.ids))
                self._say(f"schemas can't be cached in {self.path} ({type(error).__name__}); see VEILSTREAM_REGISTRY_CACHE")

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning(what)


def packed(contents: Contents, url: str) -> bytes:
    """Contents as a file, of at most MAX_BYTES: the oldest schemas are left out first."""
    schemas = list(contents.schemas.items())
    size = 0
    for kept, (_, text) in enumerate(reversed(schemas)):
        size += len(json.dumps(text)) + 32
        if size > MAX_BYTES // 2:
            schemas = schemas[len(schemas) - kept :]
            break
    body = {
        "format": _FORMAT,
        "registry": url,
        "ids": {subject: [digest, schema_id] for subject, (digest, schema_id) in contents.ids.items()},
        "schemas": {str(schema_id): text for schema_id, text in schemas},
    }
    return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode()


def unpacked(data: bytes, url: str) -> Contents:
    """The contents of a file of this registry. Raises DamagedError for all that ``packed`` did not write."""
    if len(data) > MAX_BYTES:
        raise DamagedError("it is too large")
    try:
        body = json.loads(data)
        is_whole = isinstance(body, dict) and body.pop("checksum", None) == _checksum(body)
    except (ValueError, RecursionError):
        raise DamagedError("it is not JSON") from None
    if not is_whole:
        raise DamagedError("its checksum is wrong")
    if body.get("format") != _FORMAT or body.get("registry") != url:
        raise DamagedError("it is of another format or registry")
    try:
        return Contents(
            {int(schema_id): _text(text) for schema_id, text in body["schemas"].items()},
            {subject: (_text(digest), int(schema_id)) for subject, (digest, schema_id) in body["ids"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamagedError("it lacks something") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _newest(old: dict[K, V], new: dict[K, V]) -> dict[K, V]:
    together = {key: value for key, value in old.items() if key not in new} | new
    return dict(list(together.items())[-KEPT:])


def _checksum(body: dict[str, Any]) -> str:
    return _digest(json.dumps(body, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
