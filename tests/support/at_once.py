"""Coroutines that wait for nothing, without an event loop: one for each call would cost more than what is tested."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What it returns. AssertionError where it waits for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        returned: T = done.value
        return returned
    work.close()
    raise AssertionError("it waits for something: give it an event loop")
