"""Requests for a round on the control topic, and the records that answer them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from streams.serde.records import TrainingControl

State = Literal["requested", "started", "finished", "failed"]
_KEPT = 100


def pending(before: Iterable[Mapping[str, Any]], records: Iterable[TrainingControl]) -> list[dict[str, Any]]:
    """The unanswered requests after some more records, oldest first; the newest hundred at most.

    A round that started and did not end is still pending: the trainer that started it has it in its folder, and continues it.
    """
    found = {request["request_id"]: dict(request) for request in before}
    for record in records:
        if record["state"] == "requested":
            found.setdefault(record["request_id"], {name: record[name] for name in ("request_id", "cause", "reason", "at")})
        elif record["state"] in ("finished", "failed"):
            found.pop(record["request_id"], None)
    return list(found.values())[-_KEPT:]


def request(reason: str, now_ms: int) -> TrainingControl:
    """An operator's request."""
    return TrainingControl(
        request_id=secrets.token_hex(16),
        state="requested",
        cause="operator",
        reason=reason,
        at=now_ms,
        model_version=None,
        verdict="",
        pairs=0,
    )


def answer(
    of: Mapping[str, Any], state: State, reason: str, now_ms: int, *, version: str | None = None, verdict: str = "", pairs: int = 0
) -> TrainingControl:
    """What became of a request."""
    return TrainingControl(
        request_id=of["request_id"],
        state=state,
        cause=of["cause"],
        reason=reason,
        at=now_ms,
        model_version=version,
        verdict=verdict,
        pairs=pairs,
    )
