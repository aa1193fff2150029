"""``veilstream forget``: asks all stages to forget a shopper, and looks until they have."""

from __future__ import annotations

import asyncio
import secrets
import time
from string import ascii_lowercase
from typing import TYPE_CHECKING

import click

from streams.cli.audited import audited
from streams.cli.progress import in_time
from streams.cli.shopper import need_rights, read_user

if TYPE_CHECKING:
    from streams.serde.records import ErasureRequest
    from streams.settings import KafkaSettings, Settings

_LOOK_EVERY_S = 1.0
_SAY_EVERY_S = 10.0
_ID_LETTERS = 24
"""Of a request's random id; digits could pass for a telephone number."""


@click.command(name="forget")
@click.argument("user")
@click.option("--anonymous", is_flag=True, help="USER is an anonymous id: that of a browser before a log-in.")
@click.option("--item", metavar="ITEM", help="Forget only what has to do with this item.")
@click.option("--request-id", metavar="TEXT", help="Your id of the request. Default: a random one.")
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Look so long until no state holds the shopper; needs pseudonym.key."
)
def command(user: str, anonymous: bool, item: str | None, request_id: str | None, wait: float | None) -> int:
    """Publish a request to privacy.erasure. Every stage then forgets what it keeps of the shopper, and the trainer its training pairs.
    Give - as USER to have it read from the standard input.

    With --wait the exit code is 1 if something is still held in a state. Records of topics end with the topics' retention: what is still
    there is listed.
    """
    if wait is not None and item is not None:
        raise click.UsageError("--wait looks for the whole shopper; leave --item out")
    from streams.audit.actions import FORGETTING, erasure_details
    from streams.clock import SystemClock
    from streams.data_subjects.shoppers import pseudonym_of
    from streams.privacy.key_folder import key_folder
    from streams.privacy.request_ids import why_no_request_id
    from streams.settings import load_kafka_settings, load_settings

    user = read_user(user)
    request_id = request_id or "".join(secrets.choice(ascii_lowercase) for _ in range(_ID_LETTERS))
    wrong = why_no_request_id(request_id)
    if wrong is not None:
        raise click.UsageError(wrong)
    request: ErasureRequest = {
        "user_id": "" if anonymous else user,
        "request_id": request_id,
        "requested_at": SystemClock().now_ms(),
        "scope": f"item:{item}" if item is not None else "all",
        "anonymous_id": user if anonymous else None,
    }
    settings, kafka = load_settings(), load_kafka_settings()
    with audited("forget", settings, kafka) as audit:
        details = erasure_details(request["request_id"], item)
        if (key_folder(settings) / "pseudonym.key").exists():
            audit.tell(FORGETTING, pseudonym_of(settings, user, is_anonymous=anonymous), details)
        else:  # whoever only may publish requests does not know whom the request is about, and need not
            audit.tell(FORGETTING, None, details)
        asyncio.run(_send(request, settings, kafka))
    click.echo(f"requested: {request['request_id']}")
    return 0 if wait is None else asyncio.run(_wait(settings, kafka, user, anonymous, wait))


async def _send(request: ErasureRequest, settings: Settings, kafka: KafkaSettings) -> None:
    from streams import topics
    from streams.kafka.clients import quiet_client_loggers
    from streams.kafka.topic_records import write_record
    from streams.producers.publisher import consent_key
    from streams.serde.codec import open_codec

    quiet_client_loggers()
    codec = await open_codec(topics.PRIVACY_ERASURE, settings)
    name = settings.topic_prefix + topics.PRIVACY_ERASURE
    value, key = codec.encode(request), consent_key(request)
    await write_record(kafka, name, key, value, idempotent=settings.idempotent_producer, then="ask again: twice is as good as once")


async def _wait(settings: Settings, kafka: KafkaSettings, user: str, is_anonymous: bool, seconds: float) -> int:
    from streams.data_subjects.holdings import holdings
    from streams.data_subjects.shoppers import pseudonyms_of
    from streams.topics import BY_NAME, DAY_MS

    await need_rights(settings, kafka)
    pseudonyms = pseudonyms_of(settings, user, is_anonymous=is_anonymous)
    begin = said = time.monotonic()
    end = begin + seconds
    while True:
        for pseudonym in pseudonyms:  # while the key is rotated there are two
            held = await holdings(settings, kafka, pseudonym)
            if held.states or held.consents:
                break
        if not held.states and not held.consents:
            break
        if time.monotonic() > end:
            click.echo(f"still held after {seconds:g} s: {', '.join(f'{name} ({n})' for name, n in held.counts.items())}", err=True)
            return 1
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            holders = ", ".join(sorted({*held.states, *(["consents"] if held.consents else [])}))
            click.echo(f"still held ({holders}); waiting for at most {in_time(end - said)} more", err=True)
        await asyncio.sleep(_LOOK_EVERY_S)
    click.echo("no stage holds the shopper any more")
    for stage in held.marks:
        click.echo(
            f"{stage} keeps a mark under the pseudonym, which drops late lists, until newer ones come or VEILSTREAM_IDLE_CLOSE_S passes"
        )
    for name, count in held.counts.items():
        days = (BY_NAME[name].retention_ms or 0) // DAY_MS
        click.echo(f"{name}: {count} records under the pseudonym, gone within {days} days of their writing")
    return 0
