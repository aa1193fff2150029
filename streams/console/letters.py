"""Dead letters by reason and source. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.console.samples import Readings
from streams.console.texts import shown
from streams.console.view import DeadLetters, LetterRow, SourceRow

_MOST_ROWS = 200
_MOST_SOURCES = 30


class Letters:
    """Counts the letters that it is given."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], LetterRow] = {}
        self.seen = 0
        self.skipped = 0
        """Letters that were not given: too many at once, or too old."""

    def take(self, record: Mapping[str, Any]) -> None:
        """A decoded letter. Reason, stage and topic are the product's own words; whoever may write to the topic may invent others."""
        self.seen += 1
        name = (shown(record["reason"], 40), shown(record["stage"], 40), shown(record["source_topic"], 80))
        known = self._rows.get(name)
        if known is None and len(self._rows) >= _MOST_ROWS:
            return
        newest, detail = record["rejected_at"], shown(record["detail"])
        if known is not None and known.newest > newest:
            newest, detail = known.newest, known.detail
        self._rows[name] = LetterRow(*name, 1 if known is None else known.count + 1, newest, detail)

    def view(self, readings: Readings) -> DeadLetters:
        rate = readings.rate("veilstream_dead_letters_total")
        return DeadLetters(
            rows=sorted(self._rows.values(), key=lambda row: (-row.count, row.reason, row.stage, row.topic)),
            sources=_sources(readings),
            seen=self.seen,
            skipped=self.skipped,
            per_minute=None if rate is None else rate * 60,
        )


def _sources(readings: Readings) -> list[SourceRow]:
    """What each source sent since the start of the workers that read it; the one with most refused first."""
    read = readings.by("source", "veilstream_source_events_total")
    refused = readings.by("source", "veilstream_source_refused_total")
    rows = [
        SourceRow(
            shown(source, 60),
            read.get(source, 0.0),
            refused.get(source, 0.0),
            readings.by("reason", "veilstream_source_refused_total", source=source),
        )
        for source in {*read, *refused}
    ]
    return sorted(rows, key=lambda row: (-row.refused, row.source))[:_MOST_SOURCES]
