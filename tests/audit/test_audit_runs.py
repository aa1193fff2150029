"""The chain of a run: what is written of a process, and what becomes of the chain when a write fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.app import STAGES
from streams.audit.actions import as_detail
from streams.audit.auditors import AUDITORS, key_id, signing_key, verify_keys
from streams.audit.configuration import keys_details, settings_details
from streams.audit.run_log import RunLog
from streams.audit.trail import StageTrail
from streams.clock import FixedClock
from streams.errors import ConfigurationError, TransientError
from streams.privacy.keys import generate_keys, load_public_key
from streams.settings import KafkaSettings, Settings
from streams.wiring.stages import Bootstrap
from tests.support.audit_chains import CODEC, KEYS, NOW, records_of, verified


class Topic:
    """Takes links; the ones whose number is in ``lost`` are written, and their acknowledgement is lost."""

    def __init__(self, *lost: int) -> None:
        self.values: list[tuple[bytes, bytes]] = []
        self.lost = lost

    async def write(self, key: bytes, value: bytes) -> None:
        self.values.append((key, value))
        if len(self.values) - 1 in self.lost:
            raise TransientError("no acknowledgement")


async def test_links_of_one_run_are_one_chain() -> None:
    topic = Topic()
    log = RunLog("operators", KEYS["operators"], CODEC, topic.write, FixedClock(NOW))
    await asyncio.gather(*(log.append("promoted", f"v{number}") for number in range(5)))
    verifier, findings = verified(records_of(topic.values))
    assert findings == [] and list(verifier.heads()) == [log.chain] and log.chain.chain.startswith("run/20261127T050000Z-")
    other = RunLog("operators", KEYS["operators"], CODEC, topic.write, FixedClock(NOW))
    assert other.chain != log.chain


async def test_after_a_write_of_which_nothing_is_known_another_chain_begins() -> None:
    topic = Topic(1)
    log = RunLog("trainer", KEYS["trainer"], CODEC, topic.write, FixedClock(NOW))
    await log.append("started")
    before = log.chain
    with pytest.raises(TransientError):
        await log.append("promoted", "v1")
    await log.append("promoted", "v1")
    await log.append("stopped")
    _, findings = verified(records_of(topic.values))
    assert findings == []
    links = [CODEC.decode(value) for _, value in topic.values]
    assert [(link["sequence"], link["details"]) for link in links[2:]] == [(0, {"after": str(before)}), (1, {})]


def test_what_somebody_typed_is_scrubbed_and_short() -> None:
    assert as_detail("for alice@example.org") == "for <email>"
    assert len(as_detail("x" * 9000)) == 500


def test_settings_are_told_by_name_and_hash() -> None:
    plain = settings_details(Settings(), KafkaSettings())
    assert list(plain) == ["settings"]
    changed = settings_details(Settings(threshold=0.9), KafkaSettings())
    assert changed["settings"] != plain["settings"] and list(changed) == ["settings", "setting VEILSTREAM_THRESHOLD"]
    assert changed == settings_details(Settings(threshold=0.9), KafkaSettings())


def test_no_hash_of_what_may_be_a_secret() -> None:
    def told(url: str, headers: str) -> dict[str, str]:
        return settings_details(Settings(registry_url=url, registry_headers=headers))

    one = told("https://me:hunter2@registry/x?key=a", "Authorization=hunter2")  # pragma: allowlist secret
    assert one == told("https://you:other@registry/x?key=b", "Authorization=other")  # pragma: allowlist secret
    assert "setting VEILSTREAM_REGISTRY_URL" in one and "setting VEILSTREAM_REGISTRY_HEADERS" not in one


def test_keys_are_told_by_their_ids(tmp_path: Path) -> None:
    generate_keys(tmp_path, key_id="k7")
    details = keys_details(tmp_path, "ingest")
    assert details["key pseudonym"] == "k7"
    assert details["key recovery"] == key_id(bytes(load_public_key(tmp_path / "recovery.pub", "recovery")))
    assert set(details) == {"key ingest", "key pseudonym", "key subscriber", "key recovery"}
    assert set(keys_details(tmp_path, "profile")) == {"key profile", "key recovery", "key models", "key state"}
    assert keys_details(tmp_path, "profile")["key state"] == "s1"
    (tmp_path / "models.pub").unlink()
    assert set(keys_details(tmp_path, "profile")) == {"key profile", "key recovery", "key state"}
    (tmp_path / "recovery.pub").unlink()
    with pytest.raises(ConfigurationError, match=r"recovery\.pub is missing"):
        keys_details(tmp_path, "profile")


def test_everybody_has_a_key_pair(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    keys = verify_keys([tmp_path, tmp_path])
    assert set(keys) == set(AUDITORS) and set(STAGES) <= set(AUDITORS)
    for auditor in AUDITORS:
        assert keys[auditor] == [signing_key(tmp_path, auditor).verify_key], "one folder twice is one key"


def test_stages_that_forget_have_a_trail(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    bootstrap = Bootstrap(Settings(keys_dir=tmp_path), KafkaSettings(), FixedClock(NOW))
    assert isinstance(bootstrap.parts("feedback").handler.trail, StageTrail)  # type: ignore[attr-defined]
