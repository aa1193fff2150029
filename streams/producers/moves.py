"""Asks ingest to move shoppers who do not show up, while the pseudonym key is rotated: among their events, in the order of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.errors import KafkaError

from streams.errors import TransientError
from streams.kafka.clients import naming_rights, need_topic, writer
from streams.privacy.pseudonym import ANONYMOUS
from streams.serde.codec import open_codec
from streams.serde.records import MOVE, BehaviourEvent
from streams.settings import KafkaSettings, Settings
from streams.topics import BEHAVIOUR_RAW

_AT_A_TIME = 1000


def requests_of(lines: Iterable[str]) -> Iterator[BehaviourEvent]:
    """One event for each line with an id: a user's, or ``anonymous:`` and that of a browser.

    >>> [(one["user_id"], one["anonymous_id"]) for one in requests_of(["anna", "", "anonymous:b7"])]
    [('anna', None), ('', 'b7')]
    """
    for line in lines:
        name = line.strip()
        if not name:
            continue
        is_anonymous = name.startswith(ANONYMOUS)
        yield {
            "user_id": "" if is_anonymous else name,
            "event_type": MOVE,
            "event_id": None,
            "occurred_at": None,
            "item_id": None,
            "query": None,
            "quantity": None,
            "price": None,
            "currency": None,
            "recommendation_id": None,
            "position": None,
            "session_id": None,
            "region": None,
            "user_agent": None,
            "anonymous_id": name.removeprefix(ANONYMOUS) if is_anonymous else None,
            "consent": None,
        }


async def publish_moves(lines: Iterable[str], settings: Settings, kafka: KafkaSettings) -> int:
    """How many were published to behaviour.raw, all of them acknowledged. Raises BrokerUnavailable, ConfigurationError if the topic is
    missing, AccessDenied, and TransientError if the broker stops taking records: all may be published again."""
    topic = settings.topic_prefix + BEHAVIOUR_RAW
    await need_topic(kafka, topic, "Write")
    codec = await open_codec(BEHAVIOUR_RAW, settings)
    count, pending = 0, list[Any]()
    async with writer(kafka, idempotent=settings.idempotent_producer, many=True) as producer:
        try:
            with naming_rights("Write", topic):
                for request in requests_of(lines):
                    key = (request["user_id"] or request["anonymous_id"] or "").encode()
                    pending.append(await producer.send(topic, value=codec.encode(request), key=key))
                    if len(pending) == _AT_A_TIME:
                        count += len([await one for one in pending])
                        pending.clear()
                count += len([await one for one in pending])
        except KafkaError as error:
            raise TransientError(
                f"the broker did not take all of them ({type(error).__name__}): publish the list again, twice is as good as once"
            ) from error
    return count
