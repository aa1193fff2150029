"""What a check found, and how it is told. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "fault", "skipped"]
Check = Literal["settings", "keys", "broker", "topics", "rights", "model", "registry", "disk", "memory", "clock", "files"]

CHECKS: tuple[Check, ...] = (
    *("settings", "keys", "broker", "topics", "rights", "model", "registry", "disk", "memory", "clock", "files"),
)  # fmt: skip
"""In the order in which they are told: what must be right first comes first."""
_STATE_WIDTH, _CHECK_WIDTH = 7, 8
_INDENT = " " * (_STATE_WIDTH + _CHECK_WIDTH + 4)


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` is so; ``fix`` is what to do, and empty where all is well. Of a skipped check ``what`` is the reason."""

    check: Check
    state: State
    what: str
    fix: str = ""


def fault(check: Check, message: str) -> Finding:
    """Of an error of the product, which says after the last semicolon what to do.

    >>> fault("keys", "key file a.key is missing; copy it")
    Finding(check='keys', state='fault', what='key file a.key is missing', fix='copy it')
    """
    what, separator, fix = " ".join(message.split()).rpartition("; ")
    return Finding(check, "fault", what, fix) if separator else Finding(check, "fault", fix, _LOOK[check])


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether something keeps the process from working."""
    return any(found.state == "fault" for found in findings)


def lines(found: Finding, width: int | None = None) -> list[str]:
    """One line; with a ``width`` folded into as many as it needs, under each other.

    >>> lines(Finding("keys", "fault", "ingest.key is missing", "copy it"))
    ['fault    keys      ingest.key is missing; copy it']
    """
    text = f"{found.what}; {found.fix}" if found.fix else found.what
    head = f"{found.state:<{_STATE_WIDTH}}  {found.check:<{_CHECK_WIDTH}}  "
    if width is None:
        return [head + text]
    return textwrap.wrap(head + text, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)


def summary(findings: Sequence[Finding]) -> str:
    """The last line: how many, and what to begin with.

    >>> summary([Finding("keys", "ok", "all"), Finding("model", "warning", "slow", "wait")])
    'no fault, 1 warning'
    >>> summary([Finding("keys", "fault", "none", "make them")])
    '1 fault; begin with the keys: make them'
    """
    counts = {state: sum(found.state == state for found in findings) for state in ("fault", "warning", "skipped")}
    told = ", ".join(
        f"{count} {name}{'' if count == 1 or name == 'skipped' else 's'}" for name, count in counts.items() if count
    )  # fmt: skip
    first = next((found for found in findings if found.state == "fault"), None)
    if first is None:
        return f"no fault{', ' if told else ''}{told}"
    return f"{told}; begin with the {first.check}: {first.fix}"


def as_object(findings: Sequence[Finding], stage: str) -> dict[str, Any]:
    """All of it, for machines."""
    return {
        "stage": stage,
        "healthy": not has_fault(findings),
        "findings": [{"check": f.check, "state": f.state, "what": f.what, "fix": f.fix or None} for f in findings],
    }


_LOOK: dict[Check, str] = {
    "settings": "see `veilstream settings`",
    "keys": "see docs/keys.md",
    "broker": "check KAFKA_BOOTSTRAP_SERVERS and the other KAFKA_… settings",
    "topics": "see `veilstream topics check`",
    "rights": "see `veilstream access show`",
    "model": "see `veilstream models list` and VEILSTREAM_MODEL",
    "registry": "check the VEILSTREAM_REGISTRY_… settings",
    "disk": "check VEILSTREAM_STATE_DIR",
    "memory": "give the machine more memory",
    "clock": "check the machine's time service",
    "files": "raise the limit of open files",
}
"""Where to look, for an error that does not say it."""
