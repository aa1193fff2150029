"""What would become of the records of a file: the rules of the ingest stage, without a broker and without the shop's keys."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams.cli.report_lines import refused_lines, refused_objects, share
from streams.clock import SystemClock
from streams.engine.records import MemoryRecord
from streams.errors import RecordError
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer
from streams.producers.csv_rows import ReadReport
from streams.producers.source_files import read_source
from streams.serde.records import CleanEvent
from streams.settings import Settings
from streams.sources.mapping import SourceMapping
from streams.stages.ingest.clean import EventCleaner
from streams.stages.ingest.identities import Identities
from streams.stages.ingest.rules import IngestRules
from streams.topics import BEHAVIOUR_RAW
from streams.visible_text import visible


@dataclass
class SourceReport:
    """Counts of a file's records and events. It holds no user id."""

    mapping: str
    read: ReadReport
    shown: list[str] = field(default_factory=list)
    records: int = 0
    skipped: int = 0
    types: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return self.types.total() + self.refused.total() + sum(self.read.broken.values())

    @property
    def mostly_good(self) -> bool:
        """Whether at least half of the events would be taken, and there is one."""
        return 0 < self.events <= 2 * self.types.total()

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        counts = {"records": self.records, "skipped": self.skipped, "events": self.events, "taken": dict(self.types.most_common())}
        return {"source": self.mapping, **counts, "refused": refused_objects(self.refused, self.first, self.read), "shown": self.shown}

    def lines(self) -> list[str]:
        taken = ", ".join(f"{count:,} {kind}" for kind, count in self.types.most_common())
        found = [
            *self.shown,
            f"source {self.mapping}: {self.records:,} records, {self.skipped:,} of them skipped, {self.events:,} events",
            f"  taken    {share(self.types.total(), self.events)}  {taken or 'none'}",
        ]
        return found + refused_lines(self.refused, self.first, self.read, self.events)


def report_on(path: Path, mapping: SourceMapping, settings: Settings, records: int, shown: int) -> SourceReport:
    """Reads the first records of a file. Raises ConfigurationError if it can't be read or lacks the mapping's columns."""
    report = SourceReport(mapping.name, ReadReport())
    hashes = Pseudonymizer(PseudonymKey("check", secrets.token_bytes(32)))
    sealer = IdSealer(PrivateKey.generate().public_key, SigningKey.generate())
    cleaner = EventCleaner(IngestRules.from_settings(settings), Identities(hashes, sealer), hashes)
    now_ms = SystemClock().now_ms()
    for number, record in enumerate(read_source(path, mapping, report.read)):
        if number >= records:
            break
        report.records += 1
        report.skipped += not record.lines
        if number < shown and not record.lines:
            report.shown.append(f"{record.where}: skipped")
        for place, line in enumerate(record.lines):
            try:
                if isinstance(line, RecordError):
                    raise line
                source = MemoryRecord(BEHAVIOUR_RAW, 0, number, now_ms, None, b"")
                event = cleaner.clean(line, source, now_ms, place).event
            except RecordError as error:
                report.refused[str(error)] += 1
                report.first.setdefault(str(error), record.where)
                outcome = f"refused: {error}"
            else:
                report.types[event["event_type"]] += 1
                outcome = _described(event)
            if number < shown:
                report.shown.append(visible(f"{record.where}: {outcome}"))
    return report


def _described(event: CleanEvent) -> str:
    names = ("item_id", "query", "quantity", "price_band", "currency", "country", "position")
    said = [f"{name} {event[name]}" for name in names if event[name] is not None]  # type: ignore[literal-required]
    flags = f" [{', '.join(event['flags'])}]" if event["flags"] else ""
    return f"{event['event_type']} at {_time(event['occurred_at'])}, {', '.join(said)}{flags}"


def _time(ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="minutes").replace("+00:00", "Z")
