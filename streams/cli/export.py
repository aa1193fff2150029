"""``veilstream export``: all that is held about one shopper, for her."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.audited import audited
from streams.cli.shopper import need_rights, read_user

if TYPE_CHECKING:
    from streams.settings import KafkaSettings, Settings


@click.command(name="export")
@click.argument("user")
@click.option("--anonymous", is_flag=True, help="USER is an anonymous id: that of a browser before a log-in.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, readable for you alone. Default: standard output."
)
def command(user: str, anonymous: bool, out: Path | None) -> None:
    """Write all that is held about a shopper as JSON: records of topics, the states of the stages, decisions on consent, and what the
    trainer on this machine keeps. Needs pseudonym.key. Give - as USER to have it read from the standard input.
    """
    from streams.audit.actions import EXPORTING
    from streams.data_subjects.shoppers import pseudonyms_of
    from streams.settings import load_kafka_settings, load_settings

    settings, kafka = load_settings(), load_kafka_settings()
    pseudonym, *former = pseudonyms_of(settings, read_user(user), is_anonymous=anonymous)
    with audited("export", settings, kafka) as audit:
        audit.tell(EXPORTING, pseudonym)
        found = asyncio.run(_export(settings, kafka, pseudonym))
        if former:  # the pseudonym key is rotated: what has not moved yet
            found["former"] = asyncio.run(_export(settings, kafka, former[0]))
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    from streams.files import replace_file

    replace_file(out, text.encode(), mode=0o600)
    click.echo(f"wrote {out}", err=True)


async def _export(settings: Settings, kafka: KafkaSettings, pseudonym: str) -> dict[str, Any]:
    from streams.clock import SystemClock
    from streams.data_subjects.holdings import holdings
    from streams.kafka.clients import quiet_client_loggers
    from streams.training.kept_pairs import kept_of
    from streams.training.row_seal import row_seal

    quiet_client_loggers()
    await need_rights(settings, kafka)
    held = await holdings(settings, kafka, pseudonym, lambda topic: click.echo(f"reading {topic}", err=True))
    for topic, count in held.unreadable.items():
        click.echo(f"{count} records of {topic} can't be decoded and are left out", err=True)
    pairs, logs = kept_of(settings.trainer_dir, pseudonym, row_seal(settings, reads_only=True))
    return {
        "pseudonym": pseudonym,
        "written_at": SystemClock().now_ms(),
        "consents": held.consents,
        "records": held.records,
        "states": held.states,
        "trainer": {"pairs": pairs, "feature_logs": logs},
    }
