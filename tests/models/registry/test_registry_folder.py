"""Every byte of a model's folder counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.folder import check_configured_dimension, model_files, verify_folder
from streams.models.registry.manifest import MANIFEST, SIGNATURE, Manifest, sign_manifest
from tests.support.model_folders import manifest_of, write_folder

KEY = SigningKey(bytes(32))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = write_folder(tmp_path_factory.mktemp("models") / "v")
    manifest = manifest_of(folder)
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    (folder / SIGNATURE).write_bytes(sign_manifest(manifest, KEY))
    return folder, manifest


@given(st.data())
def test_any_flipped_bit_of_a_file_is_found(signed: tuple[Path, Manifest], data: st.DataObject) -> None:
    folder, manifest = signed
    assert verify_folder(folder, KEY.verify_key) == manifest
    name = data.draw(st.sampled_from([*manifest.files, MANIFEST, SIGNATURE]))
    content = (folder / name).read_bytes()
    spoilt = bytearray(content)
    spoilt[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        (folder / name).write_bytes(bytes(spoilt))
        with pytest.raises(ModelRefused) as raised:
            verify_folder(folder, KEY.verify_key)
    finally:
        (folder / name).write_bytes(content)
    assert raised.value.refusal == (Refusal.HASH if name in manifest.files else Refusal.SIGNATURE)


def test_missing_and_extra_files_are_named(signed: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, _ = signed
    with pytest.raises(ModelRefused, match=r"has no manifest\.json"):
        verify_folder(tmp_path, KEY.verify_key)
    (folder / ".hidden").write_text("")
    try:
        with pytest.raises(ModelRefused, match=r"'\.hidden' is not in the manifest") as raised:
            verify_folder(folder, KEY.verify_key)
    finally:
        (folder / ".hidden").unlink()
    assert raised.value.refusal == Refusal.EXTRA_FILE


def test_what_a_version_takes_of_a_folder(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / ".gitattributes").write_text("")
    (folder / "manifest.json").write_text("")
    kept, left_out = model_files(folder)
    assert kept == ["1_Pooling/config.json", "README.md", "config.json", "model.safetensors", "vocab.txt"]
    assert left_out == [".gitattributes", "pytorch_model.bin"]


def test_a_config_without_a_dimension_is_no_matter(signed: tuple[Path, Manifest]) -> None:
    for config in (None, b"{}", b"[]", b'{"hidden_size": "x"}', b'{"hidden_size": 16}'):
        check_configured_dimension(signed[1], config)
    with pytest.raises(ModelRefused, match="no JSON"):
        check_configured_dimension(signed[1], b"{")
