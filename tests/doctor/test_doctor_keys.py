"""Keys: the table of what each process needs is the truth, and each fault of a folder is named with its fix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.app import STAGES
from streams.audit.auditors import signing_key
from streams.doctor.findings import Finding
from streams.doctor.keys import check_keys, is_sealed
from streams.doctor.scope import keys_of
from streams.errors import ConfigurationError
from streams.privacy.keys import generate_keys, generate_signing_keys, generate_state_key
from streams.privacy.rotation import rotate_pseudonym_key
from streams.settings import KafkaSettings, Settings
from streams.wiring.stages import Bootstrap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_keys(tmp_path / "keys")
    return tmp_path / "keys"


def settings(folder: Path, **more: str) -> Settings:
    return Settings.model_validate({"keys_dir": folder, "model": "hashing", "models_cache": folder.parent / "cache", **more})


def problems(scope: str, folder: Path, **more: str) -> list[Finding]:
    return [one for one in check_keys(scope, settings(folder, **more)) if one.state != "ok"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_starts_with_the_keys_that_it_is_said_to_need_and_with_none_less(stage: str, folder: Path) -> None:
    own = settings(folder)
    needs = keys_of(stage, own)
    for path in folder.iterdir():
        if path.name not in [need.name for need in needs]:
            path.unlink()
    Bootstrap(own, KafkaSettings()).parts(stage)
    assert [one.state for one in check_keys(stage, own)] == ["ok"]
    for need in needs:
        content = (folder / need.name).read_bytes()
        (folder / need.name).unlink()
        (found,) = check_keys(stage, own)
        assert need.name in found.what and found.fix
        if need.why_optional:
            Bootstrap(own, KafkaSettings()).parts(stage)
            assert found.state == "warning"
        else:
            with pytest.raises(ConfigurationError, match=need.name):
                Bootstrap(own, KafkaSettings()).parts(stage)
            assert found.state == "fault"
        (folder / need.name).write_bytes(content)
        (folder / need.name).chmod(0o600)


def test_the_trainer_signs_with_the_key_that_it_is_said_to_need(folder: Path) -> None:
    assert signing_key(folder, "trainer") and problems("trainer", folder) == []
    (folder / "models.key").unlink()
    assert [(one.state, "models.key is missing" in one.what) for one in problems("trainer", folder)] == [("fault", True)]


def test_a_folder_without_any_key_is_one_line(tmp_path: Path) -> None:
    (found,) = problems("all", tmp_path / "keys")
    assert found.state == "fault" and found.what.startswith("none of the 10 keys") and "veilstream keys generate" in found.fix


def world_readable(folder: Path) -> None:
    (folder / "pseudonym.key").chmod(0o644)


def writable(folder: Path) -> None:
    (folder / "recovery.pub").chmod(0o666)


def other_half(folder: Path) -> None:
    (folder / "ingest.pub").write_bytes((folder / "profile.pub").read_bytes().replace(b"profile", b"ingest"))


def other_secret(folder: Path) -> None:
    generate_keys(folder.parent / "other")
    (folder / "subscriber.pub").write_bytes((folder.parent / "other" / "subscriber.pub").read_bytes())


def cut(folder: Path) -> None:
    (folder / "ingest.key").write_text("veilstream ingest ed25519 secret\nAAAA\n")


def misplaced(folder: Path) -> None:
    (folder / "pseudonym.key").write_bytes((folder / "ingest.key").read_bytes())


def without_moves(folder: Path) -> None:
    rotate_pseudonym_key(folder)
    (folder / "moves.key").unlink()


@pytest.mark.parametrize(
    ("break_it", "words", "fix"),
    [
        (world_readable, "open to everybody", "chmod 600 it"),
        (writable, "may be written by others: chmod go-w it", ""),
        (other_half, "ingest.key and ingest.pub", "copy both from one place"),
        (other_secret, "subscriber.key and subscriber.pub", "copy both from one place"),
        (cut, "has 3 bytes instead of 32", "veilstream keys generate"),
        (misplaced, "is a secret ingest key; a secret pseudonym key is needed there", "veilstream keys generate"),
        (without_moves, "pseudonym.old.key is there, and no moves.key", "remove pseudonym.old.key"),
    ],
)
def test_a_fault_is_named_once_with_what_to_do(folder: Path, break_it: Callable[[Path], None], words: str, fix: str) -> None:
    break_it(folder)
    (found,) = problems("ingest", folder)
    assert found.state == "fault" and words in found.what and fix in f"{found.what}; {found.fix}" and found.fix
    secret = (folder.parent / "keys" / "recovery.key").read_text().splitlines()[1]
    assert secret not in found.what + found.fix


def test_state_keys(folder: Path) -> None:
    """Two of one id, none where one is demanded, none where not."""
    generate_state_key(folder, key_id="s2")
    assert problems("profile", folder) == [] and is_sealed(settings(folder))
    generate_state_key(folder.parent / "other", key_id="s2")
    shutil.copy2(folder.parent / "other" / "state.key", folder / "state-s3.key")
    (found,) = problems("profile", folder)
    assert "two different state keys have the id s2" in found.what
    for path in folder.glob("state*.key"):
        path.unlink()
    assert not is_sealed(settings(folder))
    assert [one.state for one in problems("profile", folder)] == ["warning"]
    assert [one.state for one in problems("profile", folder, seal_state="required")] == ["fault"]


def test_keys_of_a_rotation_that_belong_together(folder: Path) -> None:
    rotate_pseudonym_key(folder)
    assert problems("all", folder) == []


def test_keys_in_a_place_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x\n")
    (tmp_path / "token").chmod(0o600)
    (found,) = problems("ingest", tmp_path, keys="vault://127.0.0.1:1/secret/veilstream", vault_token_file=str(tmp_path / "token"))
    assert found.state == "fault" and "ault" in found.what and found.fix


def test_a_key_of_another_purpose_is_not_asked_for(tmp_path: Path) -> None:
    generate_signing_keys(tmp_path, ("catalogue",))
    names = " ".join(one.what for one in problems("catalogue", tmp_path))
    assert "recovery.pub is missing" in names and "models.pub" in names and "pseudonym" not in names
