"""State keys: the current one, those that only open, and how one takes another's place."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from streams.cli.main import run
from streams.errors import ConfigurationError
from streams.privacy.keys import StateKey, generate_keys, generate_state_key, load_state_key
from streams.privacy.state_keys import StateKeys, load_state_keys, use_state_key


def test_all_keys_have_a_state_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    generate_keys(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys" / "state.key").stat().st_mode) == 0o600
    found = load_state_keys(tmp_path / "keys")
    assert found is not None and found.current.key_id == "s1" and set(found.by_id) == {b"s1"}
    assert len(found.current.secret) == 32 and found.current.secret.hex() not in repr(found)


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert load_state_keys(tmp_path) is None
    with pytest.raises(ConfigurationError, match=r"state\.key is missing; add it with `veilstream keys generate --only state`"):
        load_state_key(tmp_path / "state.key")


def test_a_second_key_opens_until_it_is_used_then_the_first_one_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--dir", str(tmp_path)]
    assert run(["keys", "generate", "--only", "state", *folder]) == 0
    assert run(["keys", "generate", "--only", "state", "--key-id", "s2", *folder]) == 0
    before = load_state_keys(tmp_path)
    assert before is not None and before.current.key_id == "s1" and set(before.by_id) == {b"s1", b"s2"}
    assert run(["keys", "use", "s2", *folder]) == 0
    assert "is s2 now; restart the workers" in capsys.readouterr().out
    after = load_state_keys(tmp_path)
    assert after is not None and after.current == before.by_id[b"s2"] and after.by_id == before.by_id
    assert run(["keys", "use", "s1", *folder]) == 0, "and back"
    assert {path.name for path in tmp_path.iterdir()} == {"state.key", "state-s2.key"}


def test_an_exchange_that_was_killed_half_way_lacks_no_key(tmp_path: Path) -> None:
    generate_state_key(tmp_path)
    generate_state_key(tmp_path, key_id="s2")
    (tmp_path / "state-s1.key").hardlink_to(tmp_path / "state.key")
    found = load_state_keys(tmp_path)
    assert found is not None and found.current.key_id == "s1" and set(found.by_id) == {b"s1", b"s2"}
    use_state_key(tmp_path, "s2")
    found = load_state_keys(tmp_path)
    assert found is not None and found.current.key_id == "s2" and set(found.by_id) == {b"s1", b"s2"}


def test_no_key_is_written_over(tmp_path: Path) -> None:
    generate_state_key(tmp_path)
    with pytest.raises(ConfigurationError, match="has the id s1 already; choose another with --key-id"):
        generate_state_key(tmp_path)
    generate_state_key(tmp_path, key_id="s2")
    with pytest.raises(ConfigurationError, match=r"holds state-s2\.key already"):
        generate_state_key(tmp_path, key_id="s2")
    with pytest.raises(ConfigurationError, match="1 to 16 letters and digits"):
        generate_state_key(tmp_path, key_id="../s3")
    with pytest.raises(ConfigurationError, match=r"state-s9\.key is missing"):
        use_state_key(tmp_path, "s9")


def test_two_different_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two different state keys have the id s1"):
        StateKeys.of(StateKey("s1", b"1" * 32), [StateKey("s1", b"2" * 32)])
