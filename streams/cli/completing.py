"""Values that a shell offers for an argument or option that takes any text. Nothing is read from a broker: a key press is to answer at
once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completes = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def offering(names: Callable[[], Iterable[str]]) -> Completes:
    """Those that begin as what is typed does, as click's ``shell_complete`` of a parameter."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def topics() -> Iterable[str]:
    """The product's topics, without prefix."""
    from streams.topics import BY_NAME

    return BY_NAME


def presets() -> Iterable[str]:
    """The mappings that the product carries."""
    return sorted(path.stem for path in (Path(__file__).resolve().parents[1] / "sources" / "presets").glob("*.yaml"))


def reasons() -> Iterable[str]:
    """Of dead letters."""
    from streams.errors import Reason

    return [reason.value for reason in Reason]


def auditors() -> Iterable[str]:
    """Who writes to the audit."""
    from streams.audit.auditors import AUDITORS

    return AUDITORS
