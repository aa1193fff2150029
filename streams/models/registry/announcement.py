"""The signed record on the topic ``models`` that says which version a channel serves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from nacl.signing import SigningKey, VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.canonical import canonical
from streams.models.registry.manifest import Manifest, check_names, is_version
from streams.privacy.signing import is_signed, sign
from streams.ranking.serving_params import ServingParams
from streams.serde.records import ModelAnnouncement

Channel = Literal["stable", "canary"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

# The schema's defaults. Fields with their default are left out of the signed bytes: a signature stays valid when the schema gets
# another field. And a reader refuses a record with a field that it does not know, and does not obey only half of it.
_DEFAULTS: dict[str, Any] = {
    "metrics": {},
    "epsilon_spent": None,
    "parent": None,
    "serving": {},
    "canary_share": 0.0,
    "reason": "",
    "withdrawn": False,
    "counter": 0,
}
_REANNOUNCE = "announce it again with `veilstream models promote`"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a channel serves, or no longer does."""

    channel: Channel
    model_version: str
    location: str
    """Folder or URL of the version's files, as ``ModelStore.location`` gives it."""
    sha256: dict[str, str]
    dimension: int
    metrics: dict[str, float]
    epsilon_spent: float | None
    parent: str | None
    announced_at: int
    """Milliseconds since the epoch; grows within a channel."""
    serving: ServingParams | None
    """None if the settings' values apply."""
    canary_share: float
    """Share of pseudonyms, above 0 and at most 1 on canary, 0 on stable and where withdrawn."""
    reason: str
    withdrawn: bool
    """The channel is empty again; ``model_version`` is what it served."""
    counter: int
    """From 1, one more at each announcement of the channel. 0: made before announcements were counted."""


def announce(
    manifest: Manifest, location: str, channel: Channel, *, announced_at: int, counter: int, canary_share: float = 0.0, reason: str = ""
) -> Announcement:
    """The announcement of a version, to be signed. Raises ValueError for a share that does not fit the channel."""
    if not (canary_share == 0 if channel == "stable" else 0 < canary_share <= 1):
        raise ValueError("canary_share is above 0 and at most 1 on canary, and 0 on stable")
    return Announcement(
        channel=channel,
        model_version=manifest.model_version,
        location=location,
        sha256=dict(manifest.files),
        dimension=manifest.dimension,
        metrics=dict(manifest.metrics),
        epsilon_spent=manifest.epsilon_spent,
        parent=manifest.parent,
        announced_at=announced_at,
        serving=manifest.serving,
        canary_share=canary_share,
        reason=reason,
        withdrawn=False,
        counter=counter,
    )


def withdraw(current: Announcement, *, announced_at: int, counter: int, reason: str = "") -> Announcement:
    """The announcement that empties the channel, to be signed."""
    return replace(current, withdrawn=True, canary_share=0.0, announced_at=announced_at, counter=counter, reason=reason)


def sign_announcement(announcement: Announcement, key: SigningKey) -> ModelAnnouncement:
    """The record to write, with its channel as the key. Raises ModelRefused for numbers that are not finite."""
    record = ModelAnnouncement(
        channel=announcement.channel,
        model_version=announcement.model_version,
        location=announcement.location,
        sha256=dict(announcement.sha256),
        dimension=announcement.dimension,
        metrics={name: float(value) for name, value in announcement.metrics.items()},
        epsilon_spent=None if announcement.epsilon_spent is None else float(announcement.epsilon_spent),
        parent=announcement.parent,
        announced_at=announcement.announced_at,
        serving={} if announcement.serving is None else announcement.serving.to_dict(),
        canary_share=float(announcement.canary_share),
        reason=announcement.reason,
        withdrawn=announcement.withdrawn,
        counter=announcement.counter,
        signature=b"",
    )
    record["signature"] = sign("model announcement", signed_bytes(record), key)
    return record


def signed_bytes(record: Mapping[str, Any]) -> bytes:
    """The canonical form of all fields but the signature, those at their defaults left out. Raises ModelRefused for numbers
    that are not finite."""
    return canonical({name: value for name, value in record.items() if name != "signature" and not _is_default(name, value)})


def verify_announcement(record: Mapping[str, Any], key: VerifyKey) -> Announcement:
    """The announcement in a record, after checking its signature. Raises ModelRefused that says what is wrong."""
    if not is_signed("model announcement", signed_bytes(record), record["signature"], key):
        raise ModelRefused(
            Refusal.SIGNATURE,
            f"the announcement of {record['model_version']!r} was changed, or signed by another key than models.pub; "
            f"{_REANNOUNCE}, or give this machine the right models.pub",
        )
    version, share, withdrawn = record["model_version"], record["canary_share"], record["withdrawn"]
    if record["channel"] not in CHANNELS:
        raise _malformed(f"{record['channel']!r} is no channel")
    if not is_version(version) or not (record["parent"] is None or is_version(record["parent"])):
        raise _malformed("a version in it is no version name")
    on_canary = record["channel"] == "canary" and not withdrawn
    if not math.isfinite(share) or not (0 < share <= 1 if on_canary else share == 0):
        raise _malformed("its canary share does not fit its channel")
    if record["counter"] < 0:
        raise _malformed("its counter is below 0")
    check_names(record["sha256"])
    try:
        serving = ServingParams.from_dict(record["serving"]) if record["serving"] else None
    except ValueError as error:
        raise _malformed(str(error)) from None
    fields = {name: value for name, value in record.items() if name != "signature"}
    return Announcement(**cast("dict[str, Any]", {**fields, "serving": serving}))


def check_same(manifest: Manifest, announcement: Announcement) -> None:
    """Raises ModelRefused if a version's manifest is not of what was announced."""
    announced = (announcement.model_version, announcement.sha256, announcement.dimension)
    if (manifest.model_version, manifest.files, manifest.dimension) != announced:
        raise ModelRefused(
            Refusal.OTHER_CONTENT, f"{announcement.location} is not what was announced as {announcement.model_version}; {_REANNOUNCE}"
        )


def _is_default(name: str, value: Any) -> bool:
    return name in _DEFAULTS and type(value) is type(_DEFAULTS[name]) and value == _DEFAULTS[name]


def _malformed(what: str) -> ModelRefused:
    return ModelRefused(Refusal.MALFORMED, f"an announcement can't be used: {what}; {_REANNOUNCE}")
