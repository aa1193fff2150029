"""Decides whether an exception was caused by the record, or by the machine (memory, disk, device, connection)."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

_NAMES = frozenset({"OutOfMemoryError", "AcceleratorError", "ConnectionError", "BrokenProcessPool"})
_WORDS = ("out of memory", "allocate memory", "not enough memory", "cuda error", "cublas", "cudnn", "no space left", "too many open files")


def is_infrastructure(error: BaseException) -> bool:
    """True if the exception says that memory, a disk, a device or a connection failed. Then a retry may help, and the record is not
    the cause.

    torch reports a lack of memory on a CPU as a plain RuntimeError, so its message is checked too.

    >>> is_infrastructure(MemoryError()), is_infrastructure(ValueError("bad title"))
    (True, False)
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, (MemoryError, OSError, BrokenExecutor)):
            return True
        if any(base.__name__ in _NAMES for base in type(cause).__mro__):
            return True
        if isinstance(cause, RuntimeError) and any(word in str(cause).lower() for word in _WORDS):
            return True
        cause = cause.__cause__
    return False
