"""Waiting for what must come to be true, rather than for a time that is long enough as a rule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: Callable[[], object] | str, *, seconds: float = 60.0, every_s: float = 0.1) -> T:
    """The first answer of ``condition`` that counts as true. AssertionError, which says ``what`` did not happen, after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_said(what))
        time.sleep(every_s)
    return found


async def until(condition: Callable[[], T], what: Callable[[], object] | str, *, seconds: float = 60.0, every_s: float = 0.01) -> T:
    """As ``wait_until``, for what other tasks of the loop bring about."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := condition()):  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(_said(what)) from None
    return found


def _said(what: Callable[[], object] | str) -> str:
    return what if isinstance(what, str) else f"{what()}"
