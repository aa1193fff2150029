"""``veilstream consent``: publishes a decision of one shopper."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from streams.cli.shopper import read_user

if TYPE_CHECKING:
    from streams.serde.records import Consent


@click.command(name="consent")
@click.argument("user")
@click.option("--allow", metavar="PURPOSE,...", default="", help="What the shopper allows, for example personalization,training.")
@click.option("--refuse", metavar="PURPOSE,...", default="", help="What the shopper does not allow, or no longer.")
@click.option("--anonymous", is_flag=True, help="USER is an anonymous id: that of a browser before a log-in.")
@click.option("--policy-version", metavar="TEXT", help="Version of the text that the shopper saw.")
@click.option("--source", metavar="TEXT", default="support", show_default=True, help="Where the shopper said so.")
def command(user: str, allow: str, refuse: str, anonymous: bool, policy_version: str | None, source: str) -> None:
    """Publish a decision of a shopper to consent.updates, as of now. Give - as USER to have it read from the standard input, so that the id
    is in no list of processes.

    Purposes that do something here are personalization and training; others are kept and passed on. What is not named stays as it is.
    """
    user = read_user(user)
    purposes = {**dict.fromkeys(_words(allow), True), **dict.fromkeys(_words(refuse), False)}
    if not purposes:
        raise click.UsageError("name a purpose with --allow or --refuse")
    if set(_words(allow)) & set(_words(refuse)):
        raise click.UsageError("a purpose can't be allowed and refused at once")
    from streams.clock import SystemClock

    message: Consent = {
        "user_id": "" if anonymous else user,
        "purposes": purposes,
        "updated_at": SystemClock().now_ms(),
        "policy_version": policy_version,
        "anonymous_id": user if anonymous else None,
        "source": source,
    }
    asyncio.run(_send(message))
    click.echo("published: " + ", ".join(f"{purpose} {'allowed' if allows else 'refused'}" for purpose, allows in purposes.items()))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


async def _send(message: Consent) -> None:
    from streams import topics
    from streams.kafka.clients import quiet_client_loggers
    from streams.kafka.topic_records import write_record
    from streams.producers.publisher import consent_key
    from streams.serde.codec import open_codec
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    codec = await open_codec(topics.CONSENT_UPDATES, settings)
    name = settings.topic_prefix + topics.CONSENT_UPDATES
    value, key = codec.encode(message), consent_key(message)
    await write_record(kafka, name, key, value, idempotent=settings.idempotent_producer, then="say it again: twice is as good as once")
