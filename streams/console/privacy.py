"""Privacy at a glance: crowds, consent, erasures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams.audit.actions import K
from streams.console.samples import Readings
from streams.console.texts import shown
from streams.console.view import Audit, Consent, Measured, Privacy, Widened

_MOST_ATTRIBUTES = 20


class MeasuredCrowds:
    """What `veilstream audit k` wrote into the audit last, by attribute."""

    def __init__(self) -> None:
        self._of: dict[str, Measured] = {}

    def take(self, link: Mapping[str, Any]) -> None:
        """A link whose signature is right. Others than those of ``audit k`` change nothing."""
        details = link["details"]
        if link["action"] != K or link["stage"] != "operators":
            return
        numbers = [details.get(name, "") for name in ("k", "least", "below")]
        attribute = shown(details.get("attribute", ""), 40)
        if all(number.isdecimal() for number in numbers) and (attribute in self._of or len(self._of) < _MOST_ATTRIBUTES):
            self._of[attribute] = Measured(attribute, int(numbers[0]), int(numbers[1]), int(numbers[2]), link["occurred_at"])

    def all(self) -> list[Measured]:
        return sorted(self._of.values(), key=lambda one: one.attribute)


def privacy_view(k: int, readings: Readings, measured: Iterable[Measured], audit: Audit) -> Privacy:
    events = readings.total("veilstream_source_events_total")
    kept_back = readings.by("flag", "veilstream_kept_back_total")
    decided: dict[str, dict[str, float]] = {}
    for scrape in readings.latest().values():
        for labels, value in scrape.of("veilstream_consents", {}):
            # Every worker of ingest knows all decisions: they are not added up.
            own = decided.setdefault(labels.get("purpose", ""), {})
            own[labels.get("decision", "")] = max(own.get(labels.get("decision", ""), 0.0), value)
    return Privacy(
        k=k,
        widened=[Widened(shown(flag, 40), count, count / events if events else None) for flag, count in sorted(kept_back.items())],
        measured=list(measured),
        consents=[
            Consent(shown(purpose, 40), own.get("allowed", 0.0), own.get("refused", 0.0)) for purpose, own in sorted(decided.items())
        ],
        erasures_open=readings.largest("veilstream_erasures_open"),
        oldest_s=readings.largest("veilstream_erasure_oldest_seconds"),
        audit=audit,
    )
