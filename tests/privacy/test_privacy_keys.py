"""Key files: what is written can be read, nothing secret shows, and every wrong file is named with its fix."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.privacy.keys import (
    SIGNERS,
    STAGES,
    PseudonymKey,
    Signer,
    Stage,
    generate_keys,
    generate_signing_keys,
    load_model_signing_key,
    load_model_verify_key,
    load_private_key,
    load_pseudonym_key,
    load_public_key,
    load_stage_signing_key,
    load_stage_verify_key,
)
from streams.privacy.seal import Sealer, open_sealed

SECRETS = ("pseudonym.key", "subscriber.key", "recovery.key", *(f"{signer}.key" for signer in SIGNERS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_files_and_modes(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "keys"
    paths = generate_keys(folder)
    assert sorted(path.name for path in paths) == sorted(path.name for path in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in SECRETS:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_generated_keys_load_and_fit(folder: Path) -> None:
    assert load_pseudonym_key(folder / "pseudonym.key").key_id == "k1"
    assert len(load_pseudonym_key(folder / "pseudonym.key").secret) == 32
    for purpose in ("subscriber", "recovery"):
        box = Sealer(load_public_key(folder / f"{purpose}.pub", purpose)).seal(b"letter")  # type: ignore[arg-type]
        assert open_sealed(load_private_key(folder / f"{purpose}.key", purpose), box) == b"letter"  # type: ignore[arg-type]


def test_every_generation_differs(folder: Path, tmp_path: Path) -> None:
    generate_keys(tmp_path / "others", key_id="k2")
    other = load_pseudonym_key(tmp_path / "others" / "pseudonym.key")
    assert other.key_id == "k2"
    assert other.secret != load_pseudonym_key(folder / "pseudonym.key").secret


def test_nothing_is_overwritten_unasked(folder: Path) -> None:
    before = (folder / "pseudonym.key").read_text()
    with pytest.raises(ConfigurationError, match=r"holds pseudonym\.key"):
        generate_keys(folder)
    assert (folder / "pseudonym.key").read_text() == before
    generate_keys(folder, overwrite=True)
    assert (folder / "pseudonym.key").read_text() != before


def test_another_persons_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    generate_keys(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


@pytest.mark.parametrize("key_id", ["", "a b", "k.1", "x" * 17, "ключ", "k\n"])
def test_bad_key_ids(tmp_path: Path, key_id: str) -> None:
    with pytest.raises(ConfigurationError, match="key id"):
        generate_keys(tmp_path / "keys", key_id=key_id)
    assert not (tmp_path / "keys").exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        generate_keys(tmp_path / "keys" / "deeper")


def test_secrets_never_show(folder: Path) -> None:
    key = load_pseudonym_key(folder / "pseudonym.key")
    private = load_private_key(folder / "recovery.key", "recovery")
    for shown in (repr(key), str(key), repr(private), str(private), f"{private}"):
        for secret in (key.secret, bytes(private)):
            assert secret.hex() not in shown
            assert repr(secret) not in shown
            assert base64.b64encode(secret).decode() not in shown


def _replace_line(path: Path, index: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[index] = line
    path.write_text("\n".join(lines))


Spoil = Callable[[Path], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "missing": (Path.unlink, "missing"),
    "a folder": (lambda path: (path.unlink(), path.mkdir(0o700)), "can't be read"),
    "empty": (lambda path: path.write_text(""), "not a key file"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "can't be read"),
    "someone else's": (lambda path: path.write_text("-----BEGIN PRIVATE KEY-----\nMAAA\n"), "not a key file"),
    "without a key": (lambda path: path.write_text("veilstream pseudonym k1 secret\n"), "not a key file"),
    "for another purpose": (lambda path: _replace_line(path, 0, "veilstream recovery x25519 secret"), "is a secret recovery key"),
    "for no purpose": (lambda path: _replace_line(path, 0, "veilstream s3cr3t k1 secret"), "is some other key"),
    "with a strange id": (lambda path: _replace_line(path, 0, "veilstream pseudonym k.1 secret"), "does not know"),
    "not base64": (lambda path: _replace_line(path, 1, "!" * 44), "not base64"),
    "too short": (lambda path: _replace_line(path, 1, base64.b64encode(b"x" * 31).decode()), "31 bytes instead of 32"),
    "open to everybody": (lambda path: path.chmod(0o644), "chmod 600"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_every_wrong_file_is_named_with_its_fix(folder: Path, case: str) -> None:
    spoil, message = SPOILT[case]
    path = folder / "pseudonym.key"
    old = path.read_text().splitlines()[1]
    spoil(path)
    with pytest.raises(ConfigurationError, match=message) as raised:
        load_pseudonym_key(path)
    text = str(raised.value)
    assert str(path) in text
    assert "keys generate" in text or "chmod 600" in text
    assert old not in text
    assert "s3cr3t" not in text


def test_public_and_secret_keys_are_told_apart(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a secret subscriber key; a public subscriber key is needed"):
        load_public_key(folder / "subscriber.key", "subscriber")
    (folder / "subscriber.pub").chmod(0o600)
    with pytest.raises(ConfigurationError, match="is a public subscriber key; a secret subscriber key is needed"):
        load_private_key(folder / "subscriber.pub", "subscriber")
    with pytest.raises(ConfigurationError, match="is a public recovery key; a public subscriber key is needed"):
        load_public_key(folder / "recovery.pub", "subscriber")


def test_keys_compare_by_content() -> None:
    assert PseudonymKey("k1", b"a" * 32) == PseudonymKey("k1", b"a" * 32)
    assert PseudonymKey("k1", b"a" * 32) != PseudonymKey("k1", b"b" * 32)


def test_model_keys_sign_and_verify(folder: Path) -> None:
    signing = load_model_signing_key(folder / "models.key")
    assert load_model_verify_key(folder / "models.pub").verify(signing.sign(b"model")) == b"model"
    assert stat.S_IMODE((folder / "models.key").stat().st_mode) == 0o600
    for shown in (repr(signing), str(signing), f"{signing}"):
        assert shown == "<signing key>"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_keys_sign_and_verify(folder: Path, stage: Stage) -> None:
    signing = load_stage_signing_key(folder / f"{stage}.key", stage)
    assert load_stage_verify_key(folder / f"{stage}.pub", stage).verify(signing.sign(b"letter")) == b"letter"
    assert {repr(signing), str(signing), f"{signing}"} == {"<signing key>"}
    for other in STAGES:
        if other != stage:
            with pytest.raises(ConfigurationError, match=f"is a secret {stage} key; a secret {other} key is needed"):
                load_stage_signing_key(folder / f"{stage}.key", other)


@pytest.mark.parametrize("signer", SIGNERS)
def test_signing_keys_come_to_a_folder_that_has_the_others(folder: Path, signer: Signer) -> None:
    def load() -> Any:
        path = folder / f"{signer}.pub"
        return load_model_verify_key(path) if signer == "models" else load_stage_verify_key(path, signer)

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigurationError, match=rf"holds {signer}\.key, {signer}\.pub already"):
        generate_signing_keys(folder, [signer])
    (folder / f"{signer}.key").unlink()
    (folder / f"{signer}.pub").unlink()
    with pytest.raises(ConfigurationError, match=rf"{signer}\.pub is missing; add it with `veilstream keys generate --only {signer}`"):
        load()
    assert [path.name for path in generate_signing_keys(folder, [signer])] == [f"{signer}.key", f"{signer}.pub"]
    for name, content in before.items():
        assert ((folder / name).read_bytes() == content) is not name.startswith(f"{signer}.")
    old = load()
    generate_signing_keys(folder, [signer], overwrite=True)
    assert load() != old
    assert {path.name for path in folder.iterdir()} == set(before)


def test_the_command_adds_the_keys_of_all_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As at the update of a deployment that has none."""
    keys = tmp_path / "keys"
    generate_keys(keys)
    for stage in STAGES:
        (keys / f"{stage}.key").unlink()
        (keys / f"{stage}.pub").unlink()
    before = (keys / "pseudonym.key").read_bytes()
    assert run(["keys", "generate", "--dir", str(keys), "--only", "stages"]) == 0
    assert capsys.readouterr().out.count("wrote ") == 2 * len(STAGES)
    assert (keys / "pseudonym.key").read_bytes() == before
    assert run(["keys", "generate", "--dir", str(keys), "--only", "ingest"]) == 1
    assert "holds ingest.key, ingest.pub already" in capsys.readouterr().err
    assert run(["keys", "generate", "--dir", str(keys), "--only", "nothing"]) == 2


def test_model_keys_are_told_from_the_others(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a public recovery key; a public models key is needed"):
        load_model_verify_key(folder / "recovery.pub")
    (folder / "models.pub").chmod(0o600)
    with pytest.raises(ConfigurationError, match="is a public models key; a secret models key is needed"):
        load_model_signing_key(folder / "models.pub")
    _replace_line(folder / "models.pub", 0, "veilstream models x25519 public")
    with pytest.raises(ConfigurationError, match="does not know"):
        load_model_verify_key(folder / "models.pub")


def test_no_keys_are_made_where_everybody_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for make in (generate_keys, lambda folder: generate_signing_keys(folder, ["ingest"])):
        with pytest.raises(ConfigurationError, match=r"everybody may write into .*chmod 700 it"):
            make(tmp_path)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o1777)
    generate_keys(tmp_path)
    load_pseudonym_key(tmp_path / "pseudonym.key")


@pytest.mark.parametrize(
    "name", ["pseudonym.key", "subscriber.key", "subscriber.pub", "models.key", "models.pub", "recovery.pub", "ingest.key"]
)
def test_no_key_that_others_may_write_is_loaded(tmp_path: Path, name: str) -> None:
    generate_keys(tmp_path / "keys")
    path = tmp_path / "keys" / name
    purpose, _, kind = name.partition(".")
    load: Any = {
        "pseudonym.key": load_pseudonym_key,
        "models.key": load_model_signing_key,
        "models.pub": load_model_verify_key,
        "ingest.pub": lambda found: load_stage_verify_key(found, "ingest"),
        "ingest.key": lambda found: load_stage_signing_key(found, "ingest"),
    }.get(name, lambda found: (load_private_key if kind == "key" else load_public_key)(found, purpose))  # type: ignore[arg-type]
    load(path)
    path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(ConfigurationError, match="may be written by others: chmod go-w it"):
        load(path)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="may be written by others: chmod o-w its folder"):
        load(path)


def test_a_public_key_that_anyone_may_change_is_refused(tmp_path: Path) -> None:
    generate_keys(tmp_path / "keys")
    path = tmp_path / "keys" / "subscriber.pub"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    load_public_key(path, "subscriber")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="may be written by others: chmod go-w it"):
        load_public_key(path, "subscriber")
