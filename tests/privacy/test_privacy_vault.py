"""Keys out of Vault: the same keys, nothing in the clear on a disk, and every fault named with its fix and without a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.audit.configuration import keys_details
from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.privacy import vault as vault_module
from streams.privacy.key_folder import WRAPPED, key_folder, key_wrapper, wrap_files
from streams.privacy.keys import generate_keys, load_pseudonym_key, load_public_key, load_stage_signing_key
from streams.privacy.moves import ingest_keys
from streams.privacy.rotation import rotate_pseudonym_key
from streams.settings import Settings
from tests.support.certificates import Certificates
from tests.support.vault_double import NAMESPACE, TOKEN, VaultDouble, vault


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(certificates: Certificates) -> Iterator[VaultDouble]:
    with vault(certificates.server) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate_keys(tmp_path / "keys")
    return tmp_path / "keys"


def settings_of(server: VaultDouble, certificates: Certificates, folder: Path, keys: str, **more: object) -> Settings:
    token = folder.parent / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    values = {"vault_token_file": token, "vault_cafile": certificates.authority.cert, "vault_namespace": NAMESPACE, "keys_dir": folder}
    return Settings(keys=keys.replace("PORT", str(server.port)), **{**values, **more})  # type: ignore[arg-type]


def in_kv(server: VaultDouble, folder: Path, *names: str) -> None:
    server.secrets["shop/ingest"] = {path.name: path.read_text() for path in folder.iterdir() if not names or path.name in names}


def test_a_secrets_fields_are_key_files(server: VaultDouble, certificates: Certificates, folder: Path, tmp_path: Path) -> None:
    in_kv(server, folder)
    settings = settings_of(server, certificates, folder, "vault://127.0.0.1:PORT/kv/shop/ingest", keys_dir=tmp_path / "nowhere")
    keys = key_folder(settings)
    assert load_pseudonym_key(keys / "pseudonym.key") == load_pseudonym_key(folder / "pseudonym.key")
    assert bytes(load_stage_signing_key(keys / "ingest.key", "ingest")) == bytes(load_stage_signing_key(folder / "ingest.key", "ingest"))
    assert load_public_key(keys / "recovery.pub", "recovery") == load_public_key(folder / "recovery.pub", "recovery")
    assert keys_details(keys, "ingest") == keys_details(folder, "ingest")
    assert server.asked == ["kv/data/shop/ingest"], "it is asked once"
    with pytest.raises(ConfigurationError, match=r"pseudonym\.old\.key of Vault at 127\.0\.0\.1.*is missing"):
        load_pseudonym_key(keys / "pseudonym.old.key")


def test_a_rotation_is_told_through_vault_as_through_files(server: VaultDouble, certificates: Certificates, folder: Path) -> None:
    rotate_pseudonym_key(folder)
    in_kv(server, folder)
    keys = ingest_keys(key_folder(settings_of(server, certificates, folder, "vault://127.0.0.1:PORT/kv/shop/ingest")))
    assert keys.former is not None and (keys.current.key_id, keys.former.key_id) == ("k2", "k1") and keys.moves is not None


def test_wrapped_files_are_unwrapped_at_the_start(server: VaultDouble, certificates: Certificates, folder: Path) -> None:
    in_the_clear = {path.name: path.read_bytes() for path in folder.glob("*.key")}
    settings = settings_of(server, certificates, folder, "vault-transit://127.0.0.1:PORT/transit/veilstream")
    with pytest.raises(ConfigurationError, match="is not wrapped"):
        load_pseudonym_key(key_folder(settings) / "pseudonym.key")
    before = load_pseudonym_key(folder / "pseudonym.key")
    wrapper = key_wrapper(settings)
    assert wrapper is not None and len(wrap_files(folder, wrapper)) == len(in_the_clear) and wrap_files(folder, wrapper) == []
    for name, content in in_the_clear.items():
        written = (folder / name).read_bytes()
        assert written.startswith(WRAPPED) and content.splitlines()[1] not in written and (folder / name).stat().st_mode & 0o777 == 0o600
    assert load_pseudonym_key(key_folder(settings) / "pseudonym.key") == before
    with pytest.raises(ConfigurationError, match="is wrapped; set VEILSTREAM_KEYS"):
        load_pseudonym_key(folder / "pseudonym.key")


FAULTS = {
    403: "refuses the token",
    404: "nothing at this path",
    429: "standby",
    473: "standby",
    503: "sealed",
    500: r"see its own log \(status 500\)",
    "redirect": "redirect, which is not followed",
    "silent": "no answer within",
    "html": "no JSON object",
    "empty": "no secret of a KV engine of version 2",
}


@pytest.mark.parametrize("broken", FAULTS)
def test_every_fault_is_named_with_its_fix(
    server: VaultDouble, certificates: Certificates, folder: Path, broken: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "ANSWER_S", 0.5)
    in_kv(server, folder)
    server.broken = broken
    keys = key_folder(settings_of(server, certificates, folder, f"vault://127.0.0.1:PORT/kv/shop/ingest/{broken}"))
    with pytest.raises(ConfigurationError, match=FAULTS[broken]) as raised:
        load_pseudonym_key(keys / "pseudonym.key")
    assert TOKEN not in str(raised.value) and str(server.port) in str(raised.value)
    assert server.elsewhere == [], "the token goes nowhere else"


def test_certificates_are_checked(server: VaultDouble, certificates: Certificates, folder: Path) -> None:
    for more, said in (
        ({"vault_cafile": None}, "its certificate is not accepted.*VEILSTREAM_VAULT_CAFILE"),
        ({"keys": f"vault://localhost.localdomain:{server.port}/kv/shop/ingest"}, "can't be reached|certificate is not accepted"),
    ):
        keys = str(more.pop("keys", "vault://127.0.0.1:PORT/kv/shop/ingest"))
        with pytest.raises(ConfigurationError, match=said):
            load_pseudonym_key(key_folder(settings_of(server, certificates, folder, keys, **more)) / "pseudonym.key")
    assert server.asked == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("vault://127.0.0.1:PORT/kv", "must be vault://HOST"),
        ("vault://user:secret@127.0.0.1:PORT/kv/shop", "without a token"),
        ("http://127.0.0.1:PORT/kv/shop", "must begin with"),
        ("kms:no.such.module:make", "no such module"),
    ],
)
def test_a_wrong_setting_is_named(server: VaultDouble, certificates: Certificates, folder: Path, keys: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        key_folder(settings_of(server, certificates, folder, keys))
    assert "secret" not in str(raised.value)


def test_a_token_is_read_from_a_file_of_ones_own(server: VaultDouble, certificates: Certificates, folder: Path) -> None:
    in_kv(server, folder)
    settings = settings_of(server, certificates, folder, "vault://127.0.0.1:PORT/kv/shop/ingest")
    assert settings.vault_token_file is not None
    settings.vault_token_file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_pseudonym_key(key_folder(settings) / "pseudonym.key")
    with pytest.raises(ConfigurationError, match="VEILSTREAM_VAULT_TOKEN_FILE"):
        key_folder(settings_of(server, certificates, folder, "vault://127.0.0.1:PORT/kv/other", vault_token_file=None))


def test_another_key_management_service_plugs_in(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_pseudonym_key(folder / "pseudonym.key")
    monkeypatch.setenv("VEILSTREAM_KEYS", "kms:tests.support.kms_double:make")
    monkeypatch.setenv("VEILSTREAM_KEYS_DIR", str(folder))
    assert run(["keys", "wrap"]) == 0 and "wrapped" in capsys.readouterr().out
    assert load_pseudonym_key(key_folder(Settings()) / "pseudonym.key") == before
