"""When a profile was kept long enough: what nobody has added to for that long says nothing of a shopper any more."""

from __future__ import annotations

from streams.stages.profile.profile import Profile


def last_active_ms(profile: Profile) -> int | None:
    """Event time of the last thing that is known of the shopper, milliseconds; None where only marks are left, which name nothing that
    she did."""
    times = [
        *(entry.time_ms for entries in (profile.items, profile.queries) for entry in entries.values()),
        *(one.entry.time_ms for one in profile.linked),
        *profile.bought.values(),
        *profile.linked_bought.values(),
        *(at_ms for at_ms, _ in profile.recommended),
    ]
    if profile.moved is not None:
        times += [*(one.entry.time_ms for one in profile.moved.linked), *profile.moved.bought.values()]
        times += [at_ms for at_ms, _ in profile.moved.recommended]
    return max(times, default=None)
