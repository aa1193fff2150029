"""What a long-running command writes to standard error: lines of text, or JSON objects, one a line (``VEILSTREAM_LOG_FORMAT``).

No line holds a value of a record: of an exception that is not the product's own, its class and the places in the code are told and its
message is not, since it may quote what was processed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from streams.errors import PRODUCT

Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_TEXT = "%(asctime)s %(levelname)s %(message)s"
_UNHEARD = "an exception that nothing handles"


class TextLines(logging.Formatter):
    """Time, level and message; under them the traceback of an exception."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatException(self, ei: Raised) -> str:
        return "" if ei[1] is None else told_traceback(ei[1])


class JsonLines(logging.Formatter):
    """One JSON object a record, always with the same fields: null stands for what is not known."""

    def __init__(self, stage: str | None, worker: str | None) -> None:
        super().__init__()
        self._stage = stage
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        raised = record.exc_info[1] if record.exc_info else None
        fields: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "stage": self._stage,
            "worker": self._worker,
            "exception": None if raised is None else told_traceback(raised),
        }
        return json.dumps(fields)


def _message(record: logging.LogRecord) -> str:
    """A line that can't be put together is told as it is in the code: the library would print it with all values."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def told_traceback(error: BaseException) -> str:
    """As Python prints it, but the message of an exception that is not the product's own is left out, also of those behind it.

    >>> told_traceback(KeyError("alice@example.org"))
    'KeyError'
    """
    return "\n".join(_told(error, set()))


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    behind, why = error.__cause__, "which is why:"
    if behind is None and not error.__suppress_context__:
        behind, why = error.__context__, "and while that was handled:"
    if behind is not None and id(behind) not in seen:
        yield from _told(behind, seen)
        yield why
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    message = f": {error}" if isinstance(error, PRODUCT) else ""
    yield f"{type(error).__name__}{message}"
    for one in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(one) not in seen:
            yield "one of the group:"
            yield from _told(one, seen)


class _StandardError(logging.StreamHandler[Any]):
    """The product's own handler, of one process."""

    def __init__(self, stage: str | None, worker: str | None) -> None:
        super().__init__(sys.stderr)
        self._stage, self._worker = stage, worker

    def use(self, form: str) -> None:
        """``text`` or ``json``. With the latter, what Python itself would print is logged, too."""
        if form != "json":
            self.setFormatter(TextLines())
            return
        self.setFormatter(JsonLines(self._stage, self._worker))
        logging.captureWarnings(True)
        # Of a warning the place is enough; the line of code below it would be a line of its own.
        warnings.formatwarning = _warning_line
        threading.excepthook = _say_of_thread
        sys.unraisablehook = _say_unraisable


def begin_logs(stage: str | None, environment: Mapping[str, str] | None = None) -> None:
    """Set up what this process logs, before its settings are read: also what is wrong with them is a line of the log. ``follow_settings``
    follows when they are. ``stage``: the stage, ``trainer`` or ``console``; None for a process that starts others."""
    given = {name.upper(): value for name, value in (os.environ if environment is None else environment).items()}
    root = logging.getLogger()
    if any(not isinstance(handler, _StandardError) for handler in root.handlers):
        return  # whoever runs the command inside of a program has set up logs of its own
    handler = _StandardError(stage, given.get("VEILSTREAM_INSTANCE_ID") or None)
    handler.use(given.get("VEILSTREAM_LOG_FORMAT", "").lower())
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def follow_settings(level: str, form: str) -> None:
    """As VEILSTREAM_LOG_LEVEL and VEILSTREAM_LOG_FORMAT say, now that they were read and checked."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, _StandardError):
            root.setLevel(level)
            handler.use(form)


def is_json() -> bool:
    """Whether standard error of this process is JSON lines. Then nothing else may be written there."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def _warning_line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return f"{category.__name__}: {message} ({Path(filename).name}:{lineno})"


def _say_of_thread(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is not None and not isinstance(raised.exc_value, SystemExit):
        told = (type(raised.exc_value), raised.exc_value, raised.exc_traceback)
        logging.getLogger(__name__).error("%s ended a thread", _UNHEARD, exc_info=told)


def _say_unraisable(raised: sys.UnraisableHookArgs) -> None:
    if raised.exc_value is not None:
        told = (type(raised.exc_value), raised.exc_value, raised.exc_traceback)
        logging.getLogger(__name__).error("%s, in a place that can't raise", _UNHEARD, exc_info=told)
