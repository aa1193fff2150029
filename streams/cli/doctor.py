"""``veilstream doctor``: what may keep a process from working, before it runs."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING

import click

from streams.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from streams.doctor.findings import Finding

_NAMES = ("ingest", "catalogue", "profile", "feedback", "learning", "trainer", "all")
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red", "skipped": "cyan"}
_WIDTH = 80


@click.command(name="doctor")
@click.option(
    "--stage",
    default="all",
    show_default=True,
    type=click.Choice(_NAMES),
    help="Whose needs to check: a stage's, the trainer's, or what `worker --stage all` needs.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(stage: str, as_json: bool) -> int:
    """Check settings, keys, broker, topics, rights, models, disks, memory, clock; say what to do about what is wrong.

    One line for each thing: ok, warning, fault, or skipped with the reason. The checks are independent of each other, and nothing is
    changed: no record is written and no topic made. It takes ten seconds at most. Run it as the user, with the settings and on the
    machine of the stage.

    The exit code is 1 if there is a fault, and 0 if there are only warnings.
    """
    from streams.doctor.checkup import examine, read_settings
    from streams.doctor.findings import as_object, has_fault, lines, summary
    from streams.visible_text import visible

    # What is logged on the way is a finding of a check, too.
    logging.getLogger().addHandler(logging.NullHandler())
    width = _WIDTH if sys.stdout.isatty() else None

    def tell(found: Finding) -> None:
        for line in () if as_json else lines(found, width):
            shown = visible(line)
            click.echo(shown.replace(found.state, click.style(found.state, fg=_COLOURS[found.state]), 1))

    found = asyncio.run(examine(stage, read_settings(), tell))
    if as_json:
        click.echo(json.dumps(as_object(found, stage), indent=2))
    else:
        click.echo("\n".join(_folded(visible(summary(found)), width)))
    return ExitCode.FAILED if has_fault(found) else ExitCode.DONE


def _folded(text: str, width: int | None) -> list[str]:
    import textwrap

    return [text] if width is None else textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
