"""Key and password files that others may write are refused, and private folders are private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError
from streams.files import check_trusted, private_folder, read_trusted, why_untrusted

UIDS = st.sampled_from([0, 1000, 1001])
ME = 1000


def status(mode: int, uid: int = ME) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 0, uid, 0, 0, 0, 0, 0))


@given(st.integers(0, 0o7777), st.integers(0, 0o7777), UIDS, UIDS, UIDS)
def test_what_others_may_write_is_never_trusted(file: int, folder: int, owner: int, link: int, folder_owner: int) -> None:
    why = why_untrusted(status(file, owner), status(0o777, link), status(folder, folder_owner), ME)
    by_mode = bool(file & 0o022)
    swapped = bool(folder & 0o002) and (not folder & stat.S_ISVTX or not {owner, link} <= {0, ME})
    assert (why is not None) == (by_mode or swapped)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "secret"
    path.write_text("hunter2")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o660, 0o666, 0o622])
def test_a_file_that_others_may_write_is_refused(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"password file {secret} may be written by others: chmod go-w it") as raised:
        read_trusted(secret, 100, "password file")
    assert "hunter2" not in str(raised.value)


def test_so_is_one_in_a_folder_that_everybody_may_write(secret: Path) -> None:
    secret.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w its folder"):
        read_trusted(secret, 100, "key file")
    secret.parent.chmod(0o1777)  # as Kubernetes mounts secrets
    assert read_trusted(secret, 100, "key file", secret=True) == b"hunter2"


def test_a_link_leads_to_a_folder_that_counts_too(secret: Path, tmp_path: Path) -> None:
    """Kubernetes mounts secrets as links, into a folder of its own."""
    (tmp_path / "mounted").mkdir(mode=0o700)
    link = tmp_path / "mounted" / "secret"
    link.symlink_to(secret)
    check_trusted(link, "key file", secret=True)
    secret.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w its folder"):
        check_trusted(link, "key file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_another_user_s_file_in_a_shared_folder_is_refused(secret: Path) -> None:
    secret.parent.chmod(0o1777)
    os.chown(secret, 4711, -1)
    with pytest.raises(ConfigurationError, match="its owner is another user"):
        read_trusted(secret, 100, "key file")
    secret.parent.chmod(0o755)
    assert read_trusted(secret, 100, "key file") == b"hunter2", "a mounted file often belongs to somebody else"


def test_a_secret_that_everybody_may_read_is_refused(secret: Path) -> None:
    secret.chmod(0o644)
    assert read_trusted(secret, 100, "public key") == b"hunter2"
    with pytest.raises(ConfigurationError, match="open to everybody; chmod 600"):
        read_trusted(secret, 100, "key file", secret=True)


def test_a_file_that_is_too_long_is_not_read_whole(secret: Path) -> None:
    os.truncate(secret, 1 << 40)
    with pytest.raises(OSError, match="File too large"):
        read_trusted(secret, 100, "password file")


def test_private_folders_are_made_and_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = os.umask(0)
    try:
        private_folder(tmp_path / "deep" / "state")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700
    (tmp_path / "old").mkdir(mode=0o755)
    (tmp_path / "old").chmod(0o2755)
    private_folder(tmp_path / "old")
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        private_folder(tmp_path / "file")
    assert caplog.records == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_user_s_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr("streams.files.os.geteuid", lambda: 4711)
    private_folder(tmp_path)
    assert "everybody may look into it" in caplog.text and stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
