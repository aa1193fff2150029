"""What the audit's report says: gathered from the links while they are verified, and from the table of topics."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from streams.audit.actions import CONSENT, ERASED, PROMOTED, ROLLED_BACK, STARTED, WITHDRAWN, K
from streams.audit.configuration import KEY
from streams.audit.report_pages import Section, html_page, markdown_page
from streams.audit.verifier import Finding, Verifier
from streams.engine.records import SourceRecord
from streams.errors import ConfigurationError
from streams.files import replace_file
from streams.topics import DAY_MS, TOPICS, TopicSpec

_LISTED = 1000
"""Links of a kind, and findings, that the report lists; all are counted."""
_DAYS_DRAWN = 90


class _Span(NamedTuple):
    """From when to when, and how often."""

    first_ms: int
    last_ms: int
    times: int

    def plus(self, at_ms: int) -> _Span:
        return _Span(min(self.first_ms, at_ms), max(self.last_ms, at_ms), self.times + 1)


class Gathered:
    """Takes the links that their stages signed, and the findings. It lists the last ones and counts all."""

    def __init__(self) -> None:
        self.actions: Counter[tuple[str, str, str]] = Counter()
        """By day, stage and action."""
        self.models: deque[Mapping[str, Any]] = deque(maxlen=_LISTED)
        self.erased: deque[Mapping[str, Any]] = deque(maxlen=_LISTED)
        self.k: deque[Mapping[str, Any]] = deque(maxlen=_LISTED)
        self.consent: Counter[tuple[str, str]] = Counter()
        """By purpose and decision."""
        self.keys: dict[tuple[str, str, str], _Span] = {}
        """By name, id and who used it."""
        self.runs: dict[tuple[str, str, str], _Span] = {}
        """By stage, version and fingerprint of the settings."""
        self.findings: list[Finding] = []

    def take_finding(self, finding: Finding) -> None:
        if len(self.findings) < _LISTED:
            self.findings.append(finding)

    def take_link(self, link: Mapping[str, Any], record: SourceRecord) -> None:
        action, stage, at_ms, details = link["action"], link["stage"], link["occurred_at"], link["details"]
        self.actions[_day(at_ms), stage, action] += 1
        if action in (PROMOTED, ROLLED_BACK, WITHDRAWN):
            self.models.append(link)
        elif action == ERASED:
            self.erased.append(link)
        elif action == K:
            self.k.append(link)
        elif action == CONSENT:
            self.consent.update(pair for pair in details.items() if pair[1] in ("true", "false"))
        elif action == STARTED:
            for name, value in details.items():
                if name.startswith(KEY):
                    _note(self.keys, (name.removeprefix(KEY), value, stage), at_ms)
            _note(self.runs, (stage, details.get("version", ""), details.get("settings", "")[:16]), at_ms)

    def count(self, action: str) -> int:
        return sum(count for (_, _, name), count in self.actions.items() if name == action)


def write_report(
    folder: Path, gathered: Gathered, verifier: Verifier, at: str, *, compared: int = 0, topics: Sequence[TopicSpec] = TOPICS
) -> list[Path]:
    """``audit-<day>.html`` and ``audit-<day>.md`` in the folder, which is made; only their owner may read them. ``compared``: anchors that
    the verifier had; ``topics``: those of the deployment. Raises ConfigurationError if they can't be written."""
    title = f"Veilstream audit, {at}"
    sections = sections_of(gathered, verifier, compared, topics)
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, page in (("html", html_page(title, sections)), ("md", markdown_page(title, sections))):
            paths.append(folder / f"audit-{at[:10]}.{ending}")
            replace_file(paths[-1], page.encode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the report can't be written to {folder} ({error.strerror}); choose another folder") from None
    return paths


def sections_of(gathered: Gathered, verifier: Verifier, compared: int, topics: Sequence[TopicSpec]) -> list[Section]:
    return [
        _verification(gathered, verifier, compared),
        _actions(gathered),
        _erasures(gathered),
        _consent(gathered),
        _k(gathered),
        _models(gathered),
        _runs(gathered),
        _keys(gathered),
        _topics(topics),
    ]


def _verification(gathered: Gathered, verifier: Verifier, compared: int) -> Section:
    with_what = f"compared with {compared:,} anchors of a file" if compared else "compared with no anchor file: an end may be missing"
    result = "All is right" if verifier.is_right else f"NOT right: {sum(verifier.counts.values()):,} findings"
    text = [f"{result}. {verifier.links:,} signed links in {len(verifier.heads()):,} chains, {verifier.records:,} records; {with_what}."]
    text += [f"{source} has more than one chain: the state of the partition was lost in between." for source in verifier.begun_again()]
    rows = [
        (str(f.wrong), f"{f.partition}/{f.offset}" if f.partition >= 0 else "", str(f.chain or ""), _number(f.sequence), f.detail)
        for f in gathered.findings
    ]
    return Section("Verification", text, ("what", "partition/offset", "chain", "number", "detail"), rows)


def _actions(gathered: Gathered) -> Section:
    by_day = sorted(gathered.actions.items(), reverse=True)
    rows = [(day, stage, action, f"{count:,}") for (day, stage, action), count in by_day]
    bars: dict[str, Counter[str]] = {}
    for (day, stage, _), count in by_day:
        bars.setdefault(day, Counter())[stage] += count
    drawn = sorted(bars.items())[-_DAYS_DRAWN:]
    text = [] if rows else ["None yet."]
    return Section("What was done, by whom", text, ("day (UTC)", "by", "action", "times"), rows, drawn)


def _erasures(gathered: Gathered) -> Section:
    count = gathered.count(ERASED)
    rows = []
    for link in gathered.erased:
        asked = link["details"].get("requested_at", "")
        took = _duration(link["occurred_at"] - int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 16 else ""
        rows.append((_moment(link["occurred_at"]), link["stage"], link["subject"] or "", took))
    text = [f"{count:,} links, the last {len(rows):,} of them listed."] if count else ["None yet."]
    return Section("Erasures", text, ("when (UTC)", "by", "pseudonym", "after the request"), rows)


def _consent(gathered: Gathered) -> Section:
    rows = [(purpose, decision, f"{count:,}") for (purpose, decision), count in sorted(gathered.consent.items())]
    text = [f"{gathered.count(CONSENT):,} decisions; a shopper may have decided often."] if gathered.count(CONSENT) else ["None yet."]
    return Section("Consent by purpose", text, ("purpose", "allowed", "decisions"), rows)


def _k(gathered: Gathered) -> Section:
    rows = [(_moment(link["occurred_at"]), link["stage"], _details(link["details"])) for link in gathered.k]
    return Section("Least number of shoppers (k)", [] if rows else ["None yet."], ("when (UTC)", "by", "what"), rows)


def _models(gathered: Gathered) -> Section:
    rows = []
    for link in gathered.models:
        details = link["details"]
        rows.append(
            (
                *(_moment(link["occurred_at"]), link["stage"], link["action"], link["subject"] or "", details.get("channel", "")),
                *(details.get("parent", ""), details.get("reason", "")),
            )
        )
    head = ("when (UTC)", "by", "action", "version", "channel", "made from", "reason")
    return Section("Models, and where they came from", [] if rows else ["None yet."], head, rows)


def _runs(gathered: Gathered) -> Section:
    rows = [(*names, f"{span.times:,}", _moment(span.first_ms), _moment(span.last_ms)) for names, span in sorted(gathered.runs.items())]
    head = ("of", "version", "settings (hash)", "starts", "first", "last")
    return Section("Runs", [] if rows else ["None yet."], head, rows)


def _keys(gathered: Gathered) -> Section:
    rows = [(*names, _moment(span.first_ms), _moment(span.last_ms)) for names, span in sorted(gathered.keys.items())]
    text = ["By their ids, as the runs told them. An id is the beginning of a public key's SHA-256, of pseudonym.key its name."]
    return Section("Keys in use", text if rows else ["None yet."], ("key", "id", "used by", "first", "last"), rows)


def _topics(topics: Sequence[TopicSpec]) -> Section:
    rows = [
        (
            *(spec.name, "raw ids" if spec.raw_identity else "", _kept(spec)),
            *(", ".join(spec.writers), ", ".join(spec.readers)),
        )
        for spec in topics
    ]
    text = ["As the product makes them. What the brokers really allow and keep is theirs to say."]
    return Section("Topics: what for how long, and who may read it", text, ("topic", "holds", "kept", "written by", "read by"), rows)


def _kept(spec: TopicSpec) -> str:
    if spec.retention_ms is None:
        return "the last value of each key"
    days = spec.retention_ms // DAY_MS
    return "for ever" if spec.retention_ms < 0 else f"{days} day{'' if days == 1 else 's'}"


def _note(spans: dict[tuple[str, str, str], _Span], name: tuple[str, str, str], at_ms: int) -> None:
    known = spans.get(name)
    spans[name] = known.plus(at_ms) if known is not None else _Span(at_ms, at_ms, 1)


def _details(details: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(details.items()))


def _number(sequence: int) -> str:
    return str(sequence) if sequence >= 0 else ""


def _day(at_ms: int) -> str:
    return _moment(at_ms)[:10]


def _moment(at_ms: int) -> str:
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms):%Y-%m-%d %H:%M}"
    except OverflowError:
        return "no date"


def _duration(ms: int) -> str:
    return f"{ms / 1000:,.0f} s" if ms >= 0 else ""
