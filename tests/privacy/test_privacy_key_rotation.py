"""Rotated key files: what is written, who opens and verifies what meanwhile, and that an old key is gone when it is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from streams.audit.auditors import known_keys
from streams.cli.main import run
from streams.errors import ConfigurationError, RecordError
from streams.privacy.key_list import list_keys
from streams.privacy.keys import (
    generate_keys,
    load_moves_key,
    load_private_key,
    load_private_keys,
    load_pseudonym_key,
    load_public_key,
    load_stage_signing_key,
    load_stage_verify_key,
)
from streams.privacy.moves import Announcement, MovesSealer, ingest_keys, moves_reader
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.rotation import destroy, rotate_pair, rotate_pseudonym_key
from streams.privacy.seal import IdSealer, Sealer, open_sealed, open_sealed_id
from streams.privacy.signing import is_signed, sign


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_a_new_pseudonym_key_lies_beside_the_old_one(folder: Path) -> None:
    before = load_pseudonym_key(folder / "pseudonym.key")
    done = rotate_pseudonym_key(folder)
    assert sorted(path.name for path in (*done.written, *done.old)) == ["moves.key", "pseudonym.key", "pseudonym.old.key"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (*done.written, *done.old))
    keys = ingest_keys(folder)
    assert keys.former == before and keys.current.key_id == "k2" and keys.current.secret != before.secret
    old, new = Pseudonymizer(before), Pseudonymizer(keys.current)
    assert new.pseudonym("anna").startswith("k2.") and new.pseudonym("anna")[3:] != old.pseudonym("anna")[3:]
    assert new.event_id("anna", "e") != old.event_id("anna", "e") and new.session("anna", "s") != old.session("anna", "s")
    assert new.record_key == old.record_key, "records are known by their ids over the rotation"
    with pytest.raises(ConfigurationError, match="an overlap goes on"):
        rotate_pseudonym_key(folder)


def test_ids_of_records_stay_over_any_number_of_rotations(folder: Path) -> None:
    first = Pseudonymizer(load_pseudonym_key(folder / "pseudonym.key")).record_key
    for number in (2, 3):
        rotate_pseudonym_key(folder)
        current = load_pseudonym_key(folder / "pseudonym.key")
        assert (current.key_id, Pseudonymizer(current).record_key) == (f"k{number}", first)
        assert first not in repr(current).encode()
        destroy([folder / "pseudonym.old.key", folder / "moves.key"])


@pytest.mark.parametrize("key_id", ["k1", "", "a b", "x" * 17])
def test_a_wrong_id_changes_nothing(folder: Path, key_id: str) -> None:
    before = (folder / "pseudonym.key").read_bytes()
    if key_id:
        with pytest.raises(ConfigurationError, match="key id"):
            rotate_pseudonym_key(folder, key_id)
        assert (folder / "pseudonym.key").read_bytes() == before and not (folder / "moves.key").exists()


def test_ingest_needs_the_keys_of_one_rotation(folder: Path) -> None:
    rotate_pseudonym_key(folder)
    (folder / "moves.key").unlink()
    with pytest.raises(ConfigurationError, match=r"no moves\.key that belongs to"):
        ingest_keys(folder)


def test_what_is_sealed_for_the_stages_opens_for_them_alone(folder: Path) -> None:
    rotate_pseudonym_key(folder)
    key = load_moves_key(folder / "moves.key")
    assert key is not None
    message = Announcement(b"i" * 16, "move", "k1.x", "k2.y")
    sealed = MovesSealer(key).seal("announcement", message)
    reader = moves_reader(folder)
    assert reader.sealer is not None and reader.of(sealed) is reader.sealer
    assert reader.sealer.open("announcement", sealed, Announcement) == message
    assert b"k1." not in sealed and len(sealed) == len(MovesSealer(key).seal("announcement", Announcement(b"i" * 16, "forget", "k1.x", "")))
    for wrong in (sealed[:-1], sealed + b"\0", b"", sealed[:3]):
        with pytest.raises(RecordError):
            reader.sealer.open("announcement", wrong, Announcement)
    with pytest.raises(RecordError, match="no profile"):
        reader.sealer.open("profile", sealed, Announcement)


def test_sealed_ids_open_with_the_old_key_and_the_new_one(folder: Path) -> None:
    """A subscriber that holds both: a box does not say to which key it was sealed."""
    signing = load_stage_signing_key(folder / "ingest.key", "ingest")
    before = IdSealer(load_public_key(folder / "subscriber.pub", "subscriber"), signing).seal("anna", "k1.x")
    rotate_pair(folder, "subscriber")
    after = IdSealer(load_public_key(folder / "subscriber.pub", "subscriber"), signing).seal("anna", "k1.x")
    keys, verify = load_private_keys(folder / "subscriber.key", "subscriber"), load_stage_verify_key(folder / "ingest.pub", "ingest")
    assert [open_sealed_id(keys, box, pseudonym="k1.x", verify_key=verify) for box in (before, after)] == ["anna", "anna"]
    assert len(before) == len(after)
    with pytest.raises(ConfigurationError, match="sealed to another key"):
        open_sealed_id(load_private_key(folder / "subscriber.key", "subscriber"), before, pseudonym="k1.x", verify_key=verify)


def test_dead_letters_of_before_open(folder: Path) -> None:
    box = Sealer(load_public_key(folder / "recovery.pub", "recovery")).seal(b"letter")
    rotate_pair(folder, "recovery")
    assert open_sealed(load_private_keys(folder / "recovery.key", "recovery"), box) == b"letter"
    with pytest.raises(ConfigurationError):
        open_sealed([PrivateKey.generate(), PrivateKey.generate()], box)


def test_what_either_signed_is_accepted_and_what_a_third_signed_is_not(folder: Path, tmp_path: Path) -> None:
    old = load_stage_signing_key(folder / "ingest.key", "ingest")
    rotate_pair(folder, "ingest")
    new = load_stage_signing_key(folder / "ingest.key", "ingest")
    generate_keys(tmp_path / "other")
    third = load_stage_signing_key(tmp_path / "other" / "ingest.key", "ingest")
    key = load_stage_verify_key(folder / "ingest.pub", "ingest")
    signed = [is_signed("dead letter", b"m", sign("dead letter", b"m", one), key) for one in (old, new, third)]
    assert signed == [True, True, False]
    assert bytes(key) == bytes(new.verify_key), "it is the new one where one has to be named"


def test_old_links_of_the_audit_verify_after_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(folder))
    old = load_stage_signing_key(folder / "profile.key", "profile")
    assert run(["keys", "rotate", "--only", "profile", "--offline"]) == 0
    assert run(["keys", "retire", "--only", "profile", "--offline"]) == 0
    assert not (folder / "profile.old.key").exists() and not (folder / "profile.old.pub").exists()
    keys = known_keys([folder])["profile"]
    assert [is_signed("audit link", b"m", sign("audit link", b"m", old), key) for key in keys] == [True, False]
    letters = load_stage_verify_key(folder / "profile.pub", "profile")
    assert not is_signed("dead letter", b"m", sign("dead letter", b"m", old), letters), "nothing else of it is accepted any more"
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    assert "former/" in capsys.readouterr().out


def test_the_old_pseudonym_key_is_overwritten_and_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(folder))
    assert run(["keys", "rotate", "--offline"]) == 0
    sealed = MovesSealer(load_moves_key(folder / "moves.key")).seal("announcement", Announcement(b"", "move", "", ""))  # type: ignore[arg-type]
    assert run(["keys", "retire", "--offline"]) == 1 and (folder / "pseudonym.old.key").exists()
    assert "can't be counted offline" in capsys.readouterr().err
    with (folder / "pseudonym.old.key").open("rb") as still_open:
        assert run(["keys", "retire", "--offline", "--force"]) == 0
        assert not (folder / "pseudonym.old.key").exists() and not (folder / "moves.key").exists()
        assert set(still_open.read()) == {0}, "the bytes themselves were overwritten"
    assert moves_reader(folder).of(sealed) is None and ingest_keys(folder).former is None
    assert run(["keys", "retire", "--offline", "--force"]) == 1


def test_the_list_tells_ids_and_uses_and_no_secret(folder: Path) -> None:
    rotate_pseudonym_key(folder)
    rotate_pair(folder, "subscriber")
    (folder / "recovery.key").chmod(0o644)
    listed = {one.name: one for one in list_keys(folder)}
    assert (listed["pseudonym.key"].key_id, listed["pseudonym.old.key"].key_id, listed["moves.key"].key_id) == ("k2", "k1", "k2")
    assert listed["pseudonym.old.key"].is_old and not listed["pseudonym.key"].is_old
    assert listed["subscriber.key"].key_id == listed["subscriber.pub"].key_id != listed["subscriber.old.pub"].key_id
    assert all(one.use for one in listed.values()) and set(listed) == {path.name for path in folder.iterdir()}
    secret = (folder / "pseudonym.key").read_text().splitlines()[1]
    assert not any(secret in str(one) for one in listed.values())
    assert "chmod 600" not in str(listed["recovery.pub"])
