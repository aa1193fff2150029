"""Fixtures of the trainer's tests."""

from __future__ import annotations

from tests.support.trainer_process import broker, shop

__all__ = ["broker", "shop"]
