"""``veilstream features``: the logs of what rankers knew of their candidates."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import click

from streams.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.stages.profile.rebuild import Checked


@click.group(name="features")
def command() -> None:
    """Check the logs of features (topic `ranking.features`)."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(as_json: bool) -> int:
    """Rebuild every logged feature from the topics, and compare.

    A log says how far the worker had read the topics that its features were made of. This reads them exactly as far, computes the
    features again by the same rules, and compares: a value may be off by 1e-5. What compaction or retention has removed since may make
    that impossible; such logs are counted apart. All topics are read into memory. Use the settings of the workers. Where
    VEILSTREAM_PRECISION is auto, a worker may have had any engine: those that this machine has are tried.

    The exit code is 1 if a log differs, and if there was nothing to compare.
    """
    from streams.kafka.clients import quiet_client_loggers
    from streams.settings import load_kafka_settings, load_settings
    from streams.wiring.feature_check import check_logs

    quiet_client_loggers()
    with Progress("the topics") as progress:
        checked, unreadable = asyncio.run(check_logs(load_settings(), load_kafka_settings(), progress.tell_of))
    return tell(checked, unreadable, as_json=as_json)


def tell(checked: Sequence[Checked], unreadable: int = 0, *, as_json: bool = False) -> int:
    """Print the result; the exit code."""
    counts = Counter(one.outcome for one in checked)
    code = 1 if counts["differs"] or unreadable or not counts["agrees"] else 0
    if as_json:
        others = [one for one in checked if one.outcome != "agrees"]
        wrong = [{"log": one.log_id, "outcome": one.outcome, "different": list(one.different)} for one in others]
        outcomes = {name: counts[name] for name in ("agrees", "differs", "untold")}
        click.echo(json.dumps({"logs": len(checked), **outcomes, "unreadable": unreadable, "not_agreeing": wrong}, indent=2))
        return code
    equal = sum(one.equal for one in checked if one.outcome == "agrees") / max(1, counts["agrees"])
    click.echo(f"{len(checked)} logs: {counts['agrees']} agree, {counts['differs']} differ, {counts['untold']} can't be told")
    if counts["agrees"]:
        click.echo(f"of those that agree, {equal:.4%} of the levels are equal, the others off by less than 1e-5")
    if unreadable:
        click.echo(f"{unreadable} records of ranking.features can't be read")
    for outcome in ("differs", "untold"):
        why = Counter(reason for one in checked if one.outcome == outcome for reason in one.different)
        for reason, count in why.most_common():
            click.echo(f"  {outcome}: {reason} ({count} logs)")
    for one in [one for one in checked if one.outcome == "differs"][:10]:
        click.echo(f"  log {one.log_id}: {', '.join(one.different)}")
    return code
