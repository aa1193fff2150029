"""The rounds of training, read from ``training.control``: the last requested one, and whether one is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import RecordError
from streams.serde.records import TrainingControl
from streams.topics import BY_NAME, TRAINING_CONTROL

KEPT = 1000
"""Rounds remembered, the newest: thirty days hold some hundred."""
_FORGOTTEN_MS = cast(int, BY_NAME[TRAINING_CONTROL].retention_ms)
"""After this time a request is no longer in the topic. A trainer that starts later never reads it."""
_PROGRESS = {"requested": 0, "started": 1, "finished": 2, "failed": 2}


@dataclass(slots=True)
class Round:
    request_id: str
    asked_ms: int
    """Time of the request, by the clock of its sender."""
    state: str
    last_ms: int
    """When its latest step was."""
    new_pairs: int = 0
    """Pairs since the round before, as counted by the request. 0 if it did not count them."""


class Rounds:
    """Rounds in the order of their first record. It is the same for every reader, because the topic has one partition."""

    def __init__(self, codec: RecordCodec) -> None:
        self.bad_records = 0
        """Records that could not be used."""
        self._codec = codec
        self._rounds: dict[str, Round] = {}

    def apply(self, records: Sequence[SourceRecord]) -> None:
        """Take in a fetch. A round never goes back: a request that comes again changes nothing. Never raises for a record."""
        for record in records:
            try:
                value = cast(TrainingControl, self._codec.decode(record.value, record.headers))
            except RecordError:
                self.bad_records += 1
                continue
            progress = _PROGRESS.get(value["state"])
            if progress is None:
                self.bad_records += 1
                continue
            identity, at_ms = value["request_id"], value["at"]
            known = self._rounds.get(identity)
            if known is None:
                self._rounds[identity] = Round(identity, at_ms, value["state"], at_ms, 0 if progress else value["pairs"])
                if len(self._rounds) > KEPT:
                    del self._rounds[next(iter(self._rounds))]
            elif progress > _PROGRESS[known.state] or (value["state"] == "started" == known.state):
                # A trainer that takes a round up again says started again.
                known.state, known.last_ms = value["state"], max(known.last_ms, at_ms)

    @property
    def latest(self) -> Round | None:
        """The last requested round."""
        return next(reversed(self._rounds.values()), None)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._rounds

    def is_open(self, now_ms: int, stale_ms: int) -> bool:
        """Whether a round is requested and has not ended. A request waits for its trainer as long as the topic holds it. A round that
        started and has been silent for ``stale_ms`` counts as dead.
        """
        patience = {"requested": _FORGOTTEN_MS, "started": stale_ms}
        return any(known.state in patience and now_ms - known.last_ms < patience[known.state] for known in self._rounds.values())


def next_request_id(previous: str) -> str:
    """The id of the request that the trigger makes after the round with id ``previous`` (empty: no round). 32 hexadecimal characters.

    Two requests made with the same last round have the same id, so they ask for the same round.
    """
    return blake2b(previous.encode(), digest_size=16, person=b"vs.training").hexdigest()
