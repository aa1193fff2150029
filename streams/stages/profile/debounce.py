"""Which events cause a recommendation."""

from __future__ import annotations

from typing import Literal

from streams.ranking.events import SEARCH, TRIGGERS
from streams.ranking.rules import ProfileRules

Policy = Literal["behaviour", "search"]


def policy_of(event_type: int, time_ms: int, triggered_at: int, rules: ProfileRules) -> Policy | None:
    """The policy of the recommendation that an event causes; None: it causes none.

    A search always does. Other behaviour does once per ``debounce_ms`` of event time after the last trigger
    (``triggered_at``), whatever the order in which events arrive: one that is a little earlier than the last trigger is late and
    causes nothing; one that is earlier by ``rewind_ms`` or more belongs to another run of time, which a trigger that lies in its
    future must not silence.
    """
    if not rules.recommend or event_type not in TRIGGERS:
        return None
    if event_type == SEARCH:
        return "search"
    since = time_ms - triggered_at
    return "behaviour" if since >= rules.debounce_ms or since <= -max(rules.rewind_ms, rules.debounce_ms) else None
