"""What a worker knows of the announcements beside the topic: what it kept itself, and the heads of the stores."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from nacl.signing import VerifyKey

from streams.errors import ConfigurationError, ModelRefused, TransientError
from streams.files import read_within, replace_file
from streams.models.registry.announcement import Announcement
from streams.models.registry.head import MAX_HEAD_BYTES, Head, head_records, newer
from streams.models.registry.store import ModelStore

log = logging.getLogger(__name__)


class KnownAnnouncements:
    """Blocking: call it outside of event loops."""

    def __init__(self, folder: Path, topic: str, store: str, key: VerifyKey) -> None:
        """``folder`` is where the cached models are, ``topic`` the full name, ``store`` that of VEILSTREAM_MODELS."""
        name = hashlib.blake2b(topic.encode(), digest_size=6).hexdigest()
        self._path = folder / f"announced-{name}.json"
        self._store = store
        self._key = key

    def kept(self) -> bytes | None:
        """The head that a worker kept in the folder. None if there is none that can be read, which is said in the log."""
        try:
            return read_within(self._path, MAX_HEAD_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning(
                "models: what was announced before, in %s, can't be read (%s); see VEILSTREAM_MODELS_CACHE", self._path, error.strerror
            )
            return None

    def keep(self, data: bytes) -> None:
        """Keep a head, together with what other workers kept there. A folder that can't be written is said in the log: then the next
        start knows only what the topic and the stores say."""
        head = Head(self._key)
        for part in (self.kept(), data):
            try:
                newer(head, head_records(part) if part is not None else [])
            except ModelRefused:
                log.warning("models: what was announced before, in %s, is damaged; it is written anew", self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, head.to_bytes())
        except OSError as error:
            log.warning("models: what is announced can't be kept in %s (%s); see VEILSTREAM_MODELS_CACHE", self._path, error.strerror)

    def published(self, announced: Iterable[Announcement]) -> list[bytes]:
        """The heads of the store of VEILSTREAM_MODELS, and of those that hold the announced models.

        Raises TransientError if one can't be reached. One that can't be used here at all is said in the log.
        """
        roots = dict.fromkeys([self._store, *(one.location.rstrip("/").rpartition("/")[0] for one in announced)])
        found: list[bytes] = []
        away: TransientError | None = None
        for root in filter(None, roots):
            try:
                data = ModelStore(root).read_head()
            except ConfigurationError as error:
                log.warning("models: the head of a store can't be read: %s", error)
            except TransientError as error:
                away = error
            else:
                found += [] if data is None else [data]
        if away is not None:
            raise away
        return found
