"""``veilstream topics``: create what is missing, check what is there, print them for Kubernetes."""

from __future__ import annotations

import asyncio
import json

import click


@click.group(name="topics")
def command() -> None:
    """Create, check or print the topics."""


@command.command()
def create() -> None:
    """Create the topics that are missing; those that exist stay as they are.

    VEILSTREAM_PARTITIONS and VEILSTREAM_REPLICATION set partitions and replication.
    """
    from streams.kafka.clients import quiet_client_loggers
    from streams.kafka.topic_setup import create_topics
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    created, kept = asyncio.run(create_topics(load_settings(), load_kafka_settings()))
    for name in created:
        click.echo(f"created  {name}")
    for name in kept:
        click.echo(f"exists   {name}")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(as_json: bool) -> int:
    """Check that all topics exist, with matching partition counts, and that neither they nor changelogs keep anything for too long.

    What is wrong comes with the command that mends it. The exit code is 1 if something is.
    """
    from streams.access.rights import state_topics
    from streams.kafka.clients import quiet_client_loggers
    from streams.kafka.topic_setup import check_topics
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings = load_settings()
    states = asyncio.run(check_topics(settings, load_kafka_settings(), state_topics(settings)))
    if as_json:
        click.echo(json.dumps([{"topic": one.name, "partitions": one.partitions, "problem": one.problem} for one in states], indent=2))
    for state in () if as_json else states:
        click.echo(f"{'ok ' if state.problem is None else 'BAD'} {state.name:<28} {state.problem or _partitions(state.partitions)}")
    return 1 if any(state.problem for state in states) else 0


@command.command()
@click.option("--cluster", default="kafka", show_default=True, help="Name of the Kafka resource.")
def strimzi(cluster: str) -> None:
    """Print the topics as KafkaTopic resources of Strimzi, for Kubernetes. Nothing is changed, and no broker is asked.

    \b
    veilstream topics strimzi --cluster shop | kubectl apply -f -

    VEILSTREAM_PARTITIONS and VEILSTREAM_REPLICATION set partitions and replication.
    """
    from streams.kafka.strimzi import manifests
    from streams.settings import load_settings

    click.echo(manifests(load_settings(), cluster=cluster), nl=False)


def _partitions(count: int | None) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"
