"""``encoders.files`` for every room."""

from __future__ import annotations

from encoders.files import read_within, replace_file, replacing

__all__ = ["read_within", "replace_file", "replacing"]
