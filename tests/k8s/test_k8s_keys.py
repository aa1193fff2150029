"""A stage starts with the keys that its pod has, as Kubernetes mounts them: links, of another owner, readable by the pod's group."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.app import STAGES
from streams.audit.configuration import keys_details, own_key_details
from streams.errors import ConfigurationError
from streams.kafka.clients import client_config
from streams.privacy.keys import generate_keys, generate_state_key
from streams.privacy.rotation import ENDED, rotate_pair, rotate_pseudonym_key
from streams.privacy.state_keys import load_state_keys
from streams.settings import KafkaSettings, Settings
from streams.training.announcer import Announcer
from streams.training.row_seal import row_seal
from streams.wiring.stages import Bootstrap
from tests.support.kubernetes import K8S

PROCESSES = (*STAGES, "trainer")
UID = 10001
"""The pods' user and group."""


def workload(name: str) -> dict[str, Any]:
    (path,) = [path for path in (K8S / "base" / name).glob("*.yaml") if path.stem in ("deployment", "statefulset")]
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def key_sources(name: str) -> list[dict[str, Any]]:
    (volume,) = [volume for volume in workload(name)["spec"]["template"]["spec"]["volumes"] if volume["name"] == "keys"]
    return [source["secret"] for source in volume["projected"]["sources"]]


def items(name: str, *, optional: bool) -> set[str]:
    return {item["key"] for secret in key_sources(name) if bool(secret.get("optional")) == optional for item in secret["items"]}


@pytest.fixture
def keys() -> Iterator[Path]:
    """All keys of a shop, where the pods' user can get to: pytest's own folders are root's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    generate_keys(folder / "keys")
    yield folder / "keys"
    shutil.rmtree(folder)


def mount(names: set[str], source: Path, place: Path) -> Path:
    """A projected volume with ``defaultMode: 0400`` and ``fsGroup``, as kubelet's AtomicWriter and SetVolumeOwnership leave it."""
    inside = place / "..2026_11_27_10_00_00.1234567890"
    inside.mkdir(parents=True)
    for name in names:
        (inside / name).write_bytes((source / name).read_bytes())
        (inside / name).chmod(0o440)  # the group may read it: 0400 | 0440
        (place / name).symlink_to(Path("..data") / name)
    (place / "..data").symlink_to(inside.name)
    inside.chmod(0o2755)
    if os.geteuid() == 0:
        for path in (place, inside, *inside.iterdir()):
            os.chown(path, 0, UID)
        inside.chmod(0o2755)
    place.chmod(0o3777)
    return place


@contextmanager
def as_pod() -> Iterator[None]:
    """As the pods' user, where this is root; else as whoever this is, who then owns the files."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([UID])
    os.setegid(UID)
    os.seteuid(UID)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def start(stage: str, folder: Path) -> dict[str, str]:
    """Everything of a stage that reads keys, but for the broker."""
    data = Path(tempfile.mkdtemp())
    try:
        settings = Settings(
            keys_dir=folder, seal_state="required", model="hashing", registry_cache=data / "registry", models_cache=data / "models"
        )
        bootstrap = Bootstrap(settings, KafkaSettings())
        bootstrap.process(stage)
        return keys_details(folder, stage)  # type: ignore[arg-type]
    finally:
        shutil.rmtree(data)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_starts_with_the_keys_of_its_pod(stage: str, keys: Path) -> None:
    start(stage, keys)  # also imports what the pods' user may not be able to read here
    folder = mount(items(stage, optional=False), keys, keys.parent / "mounted")
    with as_pod():
        assert start(stage, folder)


@pytest.mark.parametrize("stage", ["ingest", "profile", "feedback"])
def test_it_takes_those_of_a_rotation(stage: str, keys: Path) -> None:
    rotate_pseudonym_key(keys)
    rotate_pair(keys, "models")
    there = {name for name in items(stage, optional=True) if (keys / name).exists()}
    folder = mount(items(stage, optional=False) | there, keys, keys.parent / "mounted")
    start(stage, folder)
    with as_pod():
        found = start(stage, folder)
    assert found["key moves"] and ("key pseudonym.old" in found) == (stage == "ingest")


@pytest.mark.parametrize("name", ["profile", "feedback", "learning", "trainer"])
def test_a_second_state_key_opens(name: str, keys: Path) -> None:
    """Its file has the key's id in its name; in a Secret it has always the same."""
    generate_state_key(keys, key_id="s2")
    (keys / "state-s2.key").rename(keys / "state-other.key")
    folder = mount({key for key in STATE if key in items(name, optional=True) | items(name, optional=False)}, keys, keys.parent / "mounted")
    with as_pod():
        found = load_state_keys(folder)
    assert found is not None and set(found.by_id) == {b"s1", b"s2"} and found.current.key_id == "s1"


@pytest.mark.parametrize("stage", STAGES)
def test_it_needs_each_of_them(stage: str, keys: Path) -> None:
    """Without models.pub a worker starts, and obeys no announcement."""
    for missing in items(stage, optional=False) - {"models.pub"}:
        folder = mount(items(stage, optional=False) - {missing}, keys, keys.parent / missing)
        with pytest.raises(ConfigurationError, match=missing):
            start(stage, folder)


def test_the_trainer_starts_with_those_of_its_pod(keys: Path) -> None:
    folder = mount(items("trainer", optional=False), keys, keys.parent / "mounted")
    data = keys.parent / "data"
    data.mkdir()
    data.chmod(0o777)

    def load() -> dict[str, str]:
        settings = Settings(keys_dir=folder, seal_state="required", trainer_dir=Path(tempfile.mkdtemp(dir=data)))
        assert row_seal(settings) is not None
        Announcer(settings, KafkaSettings(), None, None)  # type: ignore[arg-type]
        return own_key_details(folder, "trainer")

    load()
    with as_pod():
        assert load()


def test_what_everybody_may_read_is_refused(keys: Path) -> None:
    """Kubernetes' default mode is 0644."""
    folder = mount(items("ingest", optional=False), keys, keys.parent / "mounted")
    (folder / "pseudonym.key").resolve().chmod(0o644)
    with as_pod(), pytest.raises(ConfigurationError, match="open to everybody"):
        start("ingest", folder)


def test_the_password_of_kafka_is_read_from_a_mount(keys: Path) -> None:
    (keys / "password").write_text("hunter2")
    folder = mount({"password"}, keys, keys.parent / "kafka")
    kafka = KafkaSettings(security_protocol="SASL_SSL", sasl_username="veilstream-ingest", sasl_password_file=folder / "password")
    client_config(kafka)
    with as_pod():
        assert client_config(kafka)["sasl_plain_password"] == "hunter2"


STATE = ("state.key", "state-other.key")
HELD: dict[str, Callable[[str], bool]] = {
    "ingest": lambda name: name in {"pseudonym.key", "pseudonym.old.key", "moves.key", "ingest.key"},
    "profile": lambda name: name in {"profile.key", "moves.key", *STATE},
    "feedback": lambda name: name in {"feedback.key", "moves.key", *STATE},
    "learning": lambda name: name in {"learning.key", *STATE},
    "trainer": lambda name: name in {"models.key", "moves.key", *STATE},
}
"""Secret keys, of docs/keys.md and docs/at-rest.md; the others have their own alone."""


@pytest.mark.parametrize("name", PROCESSES)
def test_a_pod_has_no_secret_that_is_another_s(name: str) -> None:
    secret = {key for optional in (True, False) for key in items(name, optional=optional) if key.endswith(".key")}
    may = HELD.get(name, lambda key: key == f"{name}.key")
    assert secret and all(may(key) for key in secret)
    assert {source["name"] for source in key_sources(name)} == {f"veilstream-keys-{name}"}


def test_every_key_is_a_file_that_the_product_makes(keys: Path) -> None:
    made = {path.name for path in keys.iterdir()}
    rotate_pair(keys, "models")
    rotate_pseudonym_key(keys)
    made |= {path.name for path in keys.iterdir()} | {ENDED, "state-other.key"}
    for name in PROCESSES:
        assert items(name, optional=False) | items(name, optional=True) <= made, name
