"""Folders that can't be written, full disks, models that are broken: looked at where they really are so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from streams.doctor.findings import Finding
from streams.doctor.machine import check_folder, check_memory, check_open_files
from streams.doctor.models import check_model
from streams.models.registry.announcement import announce, sign_announcement
from streams.models.registry.head import Head
from streams.models.registry.store import ModelStore
from streams.privacy.keys import generate_keys, load_model_signing_key
from streams.settings import Settings
from tests.support import ROOT
from tests.support.model_folders import manifest_of, write_folder

VERSION = "0123456789ab"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may look into, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a" / "b"):
        (found,) = check_folder("VEILSTREAM_STATE_DIR", folder)
        assert found.state == "ok" and str(folder) in found.what
    assert list(tmp_path.iterdir()) == []  # nothing is left behind, and nothing made


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    (found,) = check_folder("VEILSTREAM_STATE_DIR", tmp_path / "state" / "ingest")
    assert (found.state, found.what) == ("fault", f"{tmp_path / 'state'} is no folder")


def test_a_folder_that_may_not_be_written(open_folder: Path) -> None:
    """Root may write everywhere, so the question is asked as somebody else."""
    open_folder.chmod(0o555)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65_534)
        there = check_folder("VEILSTREAM_STATE_DIR", open_folder)
        new = check_folder("VEILSTREAM_STATE_DIR", open_folder / "new")
    finally:
        os.seteuid(before)
    assert [(one.state, one.what) for one in (*there, *new)] == [
        ("fault", f"{open_folder} can't be written (Permission denied)"),
        ("fault", f"{open_folder / 'new'} can't be made (Permission denied)"),
    ]


FULL = """
mount -t tmpfs -o size=64k none "$1" || exit 77
dd if=/dev/zero of="$1/filling" bs=4k 2>/dev/null
"$2" -c 'import sys; from pathlib import Path; from streams.doctor.machine import check_folder
for one in check_folder("VEILSTREAM_STATE_DIR", Path(sys.argv[1])): print(one.state, one.what)' "$1"
rm "$1/filling"
"$2" -c 'import sys; from pathlib import Path; from streams.doctor.machine import check_folder
for one in check_folder("VEILSTREAM_STATE_DIR", Path(sys.argv[1])): print(one.state, one.what)' "$1"
"""


def test_a_disk_that_is_full_and_one_that_nearly_is(tmp_path: Path) -> None:
    """In a name space of its own, where a small disk may be mounted."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    command = ["unshare", "-rm", "sh", "-c", FULL, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this system lets nobody mount a disk in a name space")
    first, second = done.stdout.splitlines()
    assert first == f"fault {tmp_path} can't be written (its disk is full)"
    assert second == f"fault the disk of {tmp_path} is full: 64 KiB are free"


def test_memory_and_open_files_of_this_machine() -> None:
    assert check_memory(1).state == "ok"
    assert check_memory(1 << 60).state == "warning"
    assert check_open_files(1 << 20).state == "warning"


def models(tmp_path: Path, **more: str) -> tuple[Settings, ModelStore, SigningKey]:
    generate_keys(tmp_path / "keys")
    own = {"keys_dir": tmp_path / "keys", "models": str(tmp_path / "models"), "model": "hashing", **more}
    settings = Settings.model_validate(own)
    return settings, ModelStore(settings.models), load_model_signing_key(tmp_path / "keys" / "models.key")


def announced(store: ModelStore, key: SigningKey, tmp_path: Path) -> None:
    """A version in the store, which its head says that everybody is served."""
    folder = write_folder(tmp_path / "folder")
    manifest = store.publish(folder, manifest_of(folder, VERSION), key)
    head = Head(key.verify_key)
    one = announce(manifest, store.location(VERSION), "stable", announced_at=1, counter=1, canary_share=0.0, reason="x")
    head.take(sign_announcement(one, key))
    store.write_head(head.to_bytes())


def wrong(settings: Settings) -> list[Finding]:
    return [one for one in check_model(settings) if one.state != "ok"]


def test_a_store_whose_versions_are_whole(tmp_path: Path) -> None:
    settings, store, key = models(tmp_path)
    announced(store, key, tmp_path)
    assert wrong(settings) == []
    assert f"1 version in {store.root}, of which {VERSION} is announced" in [one.what for one in check_model(settings)]


def test_a_manifest_that_is_broken(tmp_path: Path) -> None:
    settings, store, key = models(tmp_path)
    announced(store, key, tmp_path)
    path = tmp_path / "models" / VERSION / "manifest.json"
    changed = json.loads(path.read_text()) | {"pairs": 9}
    path.write_text(json.dumps(changed))
    refused, unserved = wrong(settings)
    assert (refused.state, unserved.state) == ("fault", "fault")
    assert f"version {VERSION} is refused (signature)" in refused.what and f"{VERSION} is announced, and is not served" in unserved.what
    assert refused.fix and unserved.fix


def test_weights_that_are_not_those_that_were_signed(tmp_path: Path) -> None:
    settings, store, key = models(tmp_path)
    announced(store, key, tmp_path)
    weights = tmp_path / "models" / VERSION / "model.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b"weights", b"weighty", 1))
    (found,) = wrong(settings)
    assert found.state == "fault" and "is announced, and is not served" in found.what and "hash" in found.what


def test_without_the_public_key_nothing_is_verified(tmp_path: Path) -> None:
    settings, _, _ = models(tmp_path)
    (tmp_path / "keys" / "models.pub").unlink()
    assert [(one.state, "models.pub" in one.what) for one in wrong(settings)] == [("skipped", True)]


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        ("./nowhere", "fault", "there is no model folder"),
        ("https://me:hunter2@hub/model", "fault", "not by a URL"),
        ("someone/model", "skipped", "fetched from the model hub"),
    ],
)
def test_a_model_that_is_not_there(tmp_path: Path, model: str, state: str, words: str) -> None:
    settings, _, _ = models(tmp_path, model=model)
    (found,) = wrong(settings)
    assert found.state == state and words in found.what and "hunter2" not in found.what + found.fix


def test_a_model_folder_that_lacks_its_weights(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own")
    settings, _, _ = models(tmp_path, model=str(folder))
    assert wrong(settings) == []
    (folder / "model.safetensors").unlink()
    (found,) = wrong(settings)
    assert found.state == "fault" and "no *.safetensors" in found.what


def test_a_gpu_that_is_asked_for_and_absent(tmp_path: Path) -> None:
    """Looked for by torch, in a process that sees none."""
    code = (
        "import sys; from streams.doctor.models import check_model; from streams.settings import Settings\n"
        "print([one.what for one in check_model(Settings()) if one.state == 'fault'])"
    )
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "VEILSTREAM_DEVICE": "cuda:0", "VEILSTREAM_MODEL": "bundled-en"}
    variables |= {"VEILSTREAM_KEYS_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['VEILSTREAM_DEVICE=cuda:0, and torch finds no GPU here']"
    assert time.monotonic() - begin < 60
