"""Announcements: what is signed is all of it, through the wire too, and whatever does not verify changes no channel."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

import schemas
from streams.errors import ConfigurationError, ModelRefused, Refusal
from streams.models.registry.announcement import Announcement, announce, sign_announcement, verify_announcement, withdraw
from streams.models.registry.channels import Channels
from streams.models.registry.fetching import fetch_announced
from streams.models.registry.store import ModelStore
from streams.privacy.signing import sign
from streams.ranking.serving_params import ServingParams
from streams.serde import local_codecs
from streams.serde.local_registry import local_id
from streams.topics import MODELS
from tests.support.model_folders import SERVING, manifest_of, write_folder

KEY = SigningKey(bytes(32))
CODEC = local_codecs().for_topic(MODELS)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VERSIONS = st.binary(min_size=6, max_size=6).map(bytes.hex)
COMMON: dict[str, Any] = {
    "model_version": VERSIONS,
    "location": TEXT,
    "sha256": st.dictionaries(
        st.text("abyz", min_size=1, max_size=5).map("{}.json".format), st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=3
    ),
    "dimension": st.integers(1, 4096),
    "metrics": st.dictionaries(TEXT, FINITE, max_size=3),
    "epsilon_spent": st.none() | FINITE,
    "parent": st.none() | VERSIONS,
    "announced_at": st.integers(0, 2**45),
    "serving": st.none() | st.builds(ServingParams, st.floats(0.001, 1e6), st.floats(0, 1e6), FINITE),
    "reason": TEXT,
    "counter": st.integers(0, 2**62),
}
STABLE = st.builds(Announcement, channel=st.just("stable"), canary_share=st.just(0.0), withdrawn=st.booleans(), **COMMON)
CANARY = st.builds(Announcement, channel=st.just("canary"), canary_share=st.floats(1e-6, 1), withdrawn=st.just(False), **COMMON)
LATER = ("serving", "canary_share", "reason", "withdrawn", "counter")
ANNOUNCEMENTS = STABLE | CANARY


def refusal(record: Any, key: SigningKey = KEY) -> Refusal:
    with pytest.raises(ModelRefused) as raised:
        verify_announcement(record, key.verify_key)
    return raised.value.refusal


@given(ANNOUNCEMENTS)
def test_it_reads_back_from_the_wire(announcement: Announcement) -> None:
    record = CODEC.decode(CODEC.encode(sign_announcement(announcement, KEY)))
    assert verify_announcement(record, KEY.verify_key) == announcement


@given(ANNOUNCEMENTS, ANNOUNCEMENTS, st.data())
def test_any_changed_field_breaks_the_signature(one: Announcement, other: Announcement, data: st.DataObject) -> None:
    record, different = sign_announcement(one, KEY), sign_announcement(other, KEY)
    name = data.draw(st.sampled_from(sorted(record)))
    mixed: Any = {**record, name: different[name]}  # type: ignore[literal-required]
    if mixed != record:
        assert refusal(mixed) == Refusal.SIGNATURE


@given(ANNOUNCEMENTS)
def test_another_key_does_not_verify(announcement: Announcement) -> None:
    assert refusal(sign_announcement(announcement, SigningKey(b"y" * 32))) == Refusal.SIGNATURE


def an_announcement(**changes: Any) -> Announcement:
    plain = Announcement("stable", "v1", "models/v1", {"a.json": "0" * 64}, 4, {}, None, None, 1, None, 0.0, "", False, 0)
    return replace(plain, **changes)


def test_signatures_of_the_first_schema_hold() -> None:
    """What was signed when there were fewer fields, written then and read now."""
    announcement = an_announcement(metrics={"hr@10": 0.5}, parent="v0")
    old = fastavro.parse_schema(json.loads(schemas.released(MODELS)[0]))
    signed = {name: value for name, value in asdict(announcement).items() if name not in LATER}
    said = {name: value for name, value in signed.items() if name != "epsilon_spent"}
    record = {**signed, "signature": sign("model announcement", json.dumps(said, sort_keys=True, separators=(",", ":")).encode(), KEY)}
    out = BytesIO()
    fastavro.schemaless_writer(out, old, record)
    framed = b"\x00" + local_id(schemas.released(MODELS)[0]).to_bytes(4, "big") + out.getvalue()
    assert verify_announcement(CODEC.decode(framed), KEY.verify_key) == announcement


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    record: Any = sign_announcement(an_announcement(metrics={"x": 1.0}, serving=SERVING), KEY)
    for changes in ({"metrics": {"x": number}}, {"serving": {"threshold": number}}, {"canary_share": number}, {"epsilon_spent": number}):
        assert refusal({**record, **changes}) == Refusal.NOT_FINITE
    with pytest.raises(ModelRefused):
        sign_announcement(an_announcement(metrics={"x": number}), KEY)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"channel": "beta"}, Refusal.MALFORMED),
        ({"counter": -1}, Refusal.MALFORMED),
        ({"model_version": "../x"}, Refusal.MALFORMED),
        ({"parent": ""}, Refusal.MALFORMED),
        ({"canary_share": 0.5}, Refusal.MALFORMED),
        ({"channel": "canary", "canary_share": 0.0}, Refusal.MALFORMED),
        ({"channel": "canary", "canary_share": 1.5}, Refusal.MALFORMED),
        ({"sha256": {"../a.json": "0" * 64}}, Refusal.UNSAFE_PATH),
        ({"sha256": {"a.pkl": "0" * 64}}, Refusal.FILE_KIND),
    ],
)
def test_signed_nonsense_is_refused(changes: dict[str, Any], expected: Refusal) -> None:
    assert refusal(sign_announcement(an_announcement(**changes), KEY)) == expected


def test_a_share_fits_its_channel(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert announce(manifest, "x", "canary", announced_at=1, counter=1, canary_share=0.1).serving == SERVING
    for channel, share in [("stable", 0.1), ("canary", 0.0), ("canary", 1.1), ("canary", math.nan)]:
        with pytest.raises(ValueError, match="canary_share"):
            announce(manifest, "x", channel, announced_at=1, counter=1, canary_share=share)  # type: ignore[arg-type]


def apply(channels: Channels, announcement: Announcement, key: SigningKey = KEY) -> Announcement | None:
    return channels.apply(announcement.channel.encode(), CODEC.encode(sign_announcement(announcement, key)))


def test_channels_hold_the_last_that_verifies() -> None:
    channels = Channels(CODEC, KEY.verify_key)
    assert channels.current("stable") is None and channels.next_time("stable", 7) == 7
    first, second = an_announcement(announced_at=10), an_announcement(model_version="v2", announced_at=20)
    canary = an_announcement(channel="canary", model_version="v2", canary_share=0.1)
    for announcement in (first, second, canary):
        assert apply(channels, announcement) == announcement
    assert channels.serving("v2") == ["stable", "canary"] and channels.serving("v1") == []
    assert channels.next_time("stable", 7) == 21 and channels.next_time("stable", 100) == 100
    assert apply(channels, an_announcement(announced_at=30), SigningKey(b"z" * 32)) is None
    assert apply(channels, first) is None
    assert channels.apply(b"stable", None) is None and channels.apply(b"stable", b"nonsense") is None
    assert channels.apply(b"canary", CODEC.encode(sign_announcement(an_announcement(announced_at=40), KEY))) is None
    assert channels.refused == {"signature": 1, "outdated": 1, "empty": 1, "bad_framing": 1, "malformed": 1}
    assert channels.current("stable") == second
    withdrawn = withdraw(canary, announced_at=50, counter=1, reason="worse")
    assert apply(channels, withdrawn) == withdrawn and channels.current("canary") is None
    assert channels.next_time("canary", 0) == 51
    assert apply(channels, canary) is None, "a withdrawn canary can't be brought back by its old record"


def test_from_an_announcement_to_a_folder(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store"))
    manifest = manifest_of(folder)
    store.publish(folder, manifest, key)
    announcement = announce(manifest, store.location(manifest.model_version), "stable", announced_at=1, counter=1)
    cache = tmp_path / "cache"
    assert fetch_announced(announcement, cache, key.verify_key) == (cache / manifest.model_version, manifest)
    for changes in ({"dimension": 8}, {"sha256": {}}, {"location": "elsewhere/v9"}, {"location": manifest.model_version}):
        with pytest.raises(ModelRefused) as raised:
            fetch_announced(replace(announcement, **changes), cache, key.verify_key)
        assert raised.value.refusal == Refusal.OTHER_CONTENT
    with pytest.raises(ConfigurationError, match="no model version"):
        fetch_announced(replace(announcement, model_version="v9", location=store.location("v9")), cache, key.verify_key)


def test_a_cache_of_another_store_gives_way(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", weights=b"other weights")
    stores = [ModelStore(str(tmp_path / name)) for name in ("a", "b")]
    manifests = [store.publish(folder, manifest_of(folder), key) for store, folder in zip(stores, (folder, other), strict=True)]
    for store, manifest in zip(stores, manifests, strict=True):
        announcement = announce(manifest, store.location(manifest.model_version), "stable", announced_at=1, counter=1)
        assert fetch_announced(announcement, tmp_path / "cache", key.verify_key)[1] == manifest
