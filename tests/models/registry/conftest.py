"""Keys and a folder for tests of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tests.support.model_folders import write_folder


@pytest.fixture
def key() -> SigningKey:
    return SigningKey(bytes(range(32)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source")
