"""How much is still kept under the pseudonyms of an old key."""

from __future__ import annotations

from collections.abc import Callable

from streams.app import FEEDBACK, PROFILE
from streams.data_subjects.holdings import open_topics, states
from streams.settings import KafkaSettings, Settings
from streams.stages.feedback.ledger import load as load_shopper
from streams.stages.profile.profile import Profile, load_profile
from streams.topics import CONSENT_DECISIONS


async def unmoved(
    settings: Settings, kafka: KafkaSettings, key_id: str, show: Callable[[str, int, int], object] = lambda topic, done, total: None
) -> dict[str, int]:
    """Shoppers by stage, and decisions on consent, that are under this key only: who is not moved loses them. A shopper who was moved and
    whose lists are not settled yet does not count. ``show`` is told of each topic how far it is read.

    Raises BrokerUnavailable, StateDamaged for one that
    was altered, and ConfigurationError for a state of another version or without the state key."""
    topics, prefix = await open_topics(settings, kafka, show), f"{key_id}.".encode()
    found: dict[str, int] = {}
    for stage, is_left in ((PROFILE.name, _profile_is_left), (FEEDBACK.name, _shopper_is_left)):
        found[f"state of {stage}"] = sum(is_left(value) for value in (await states(topics, settings, stage, prefix)).values())
    decided: dict[bytes, bytes | None] = {}
    async for record in topics.all(settings.topic_prefix + CONSENT_DECISIONS):
        if record.key is not None:
            decided[record.key] = record.value
    found[CONSENT_DECISIONS] = sum(value is not None for key, value in decided.items() if key.startswith(prefix))
    return found


def _profile_is_left(data: bytes) -> bool:
    profile = load_profile(data)
    return profile != Profile(applied_offset=profile.applied_offset, was_moved=profile.was_moved)


def _shopper_is_left(data: bytes) -> bool:
    shopper = load_shopper(data)
    return shopper.clean_offset > shopper.moved_offset
