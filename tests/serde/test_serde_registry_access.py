"""Who asks a registry: settings that contradict each other are refused, files are read anew, nothing shows a secret."""

from __future__ import annotations

import base64
import doctest
from pathlib import Path
from typing import Any

import pytest

from streams.errors import ConfigurationError
from streams.serde import registry_access, subjects
from streams.serde.registry_access import RegistryAccess, headers_of

HERE = Path("no-such-file")


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("http://r", {"user": "me"}, "REGISTRY_PASSWORD_FILE belong together"),
        ("http://r", {"password_file": HERE}, "REGISTRY_PASSWORD_FILE belong together"),
        ("http://r", {"user": "me", "password_file": HERE, "token_file": HERE}, "not both"),
        ("http://r", {"user": "m:e", "password_file": HERE}, "colon"),
        ("https://r", {"keyfile": HERE}, "needs VEILSTREAM_REGISTRY_CERTFILE"),
        ("http://r", {"cafile": HERE}, "https://"),
        ("http://r", {"certfile": HERE}, "https://"),
        ("http://r?token=hunter2", {}, "VEILSTREAM_REGISTRY_URL must be"),
        ("http://r/a b", {}, "VEILSTREAM_REGISTRY_URL must be"),
        ("http://r/\nx", {}, "VEILSTREAM_REGISTRY_URL must be"),
        ("http://me:hunter2@r", {}, "must not hold a user or password"),
        ("http://hunter2@r", {}, "must not hold a user or password"),
    ],
)
def test_contradictions_are_named(url: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        RegistryAccess(url, **more)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["a", "=b", "a=", "a b=c", "a=b c", "a=\x00", "Authorization=Bearer", "authorization=x", "Host=x"])
def test_headers_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_HEADERS"):
        headers_of(text)


def test_the_password_is_read_at_each_request(tmp_path: Path) -> None:
    path = tmp_path / "password"
    access = RegistryAccess("http://localhost", "me", path)
    for text, expected in [("one\n", "me:one"), ("two\r\nnot this", "me:two"), ("säcret: x ", "me:säcret: x ")]:
        path.write_bytes(text.encode())
        kind, _, value = access.secret_headers()["Authorization"].partition(" ")
        assert (kind, base64.b64decode(value).decode()) == ("Basic", expected)


@pytest.mark.parametrize("data", [b"", b"\n", b"two words\n", b"hunter2\x00", b"\xff\xfe", "hunter2é".encode(), b"hunter2\x1b[0m"])
def test_tokens_that_are_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_TOKEN_FILE") as caught:
        RegistryAccess("http://localhost", token_file=path).secret_headers()
    assert "hunter2" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"VEILSTREAM_REGISTRY_PASSWORD_FILE=.*FileNotFoundError"):
        RegistryAccess("http://localhost", "me", HERE).secret_headers()
    with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_CAFILE=no-such-file"):
        RegistryAccess("https://localhost", cafile=HERE).tls()
    with pytest.raises(ConfigurationError, match=r"VEILSTREAM_REGISTRY_CERTFILE .*=no-such-file"):
        RegistryAccess("https://localhost", certfile=HERE).tls()
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="VEILSTREAM_REGISTRY_CAFILE"):
        RegistryAccess("https://localhost", cafile=tmp_path / "bad.pem").tls()


@pytest.mark.parametrize("name", ["password_file", "token_file", "cafile", "certfile", "keyfile"])
def test_files_that_others_may_write_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_text("hunter2")
    path.chmod(0o622)
    more = {"user": "me"} if name == "password_file" else {"certfile": tmp_path / "other"} if name == "keyfile" else {}
    access = RegistryAccess("https://localhost", **{**more, name: path})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=f"VEILSTREAM_REGISTRY_{name.upper()} .*may be written by others") as caught:
        access.tls()
        access.secret_headers()
    assert "hunter2" not in str(caught.value)


def test_credentials_without_encryption_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    RegistryAccess("http://localhost:8081", token_file=HERE)
    RegistryAccess("https://registry", token_file=HERE)
    assert caplog.text == ""
    RegistryAccess("http://registry", token_file=HERE)
    assert "unencrypted" in caplog.text


def test_examples() -> None:
    assert doctest.testmod(registry_access).failed == 0 and doctest.testmod(subjects).failed == 0
