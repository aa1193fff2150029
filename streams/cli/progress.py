"""How far long work is, on standard error: one line that is written anew on a terminal, else a plain line each ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 80
_BAR = 20
_DRAWN_EACH_S = 0.1
_SAID_EACH_S = 10.0
_SURE_AFTER_S = 1.0
"""Before, the time that is left would be guessed from next to nothing."""


class Progress:
    """Of one piece of work; ends with the ``with`` block. ``prints``: the command prints lines to standard output meanwhile, which would
    be mixed with a bar on the same terminal."""

    def __init__(self, what: str, *, prints: bool = False, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._now = now
        self._is_terminal = self._stream.isatty()
        self._is_hidden = self._is_terminal and prints and sys.stdout.isatty()
        self._begin = self._last = now()
        self._is_drawn = False

    def tell(self, done: float, total: float, note: str = "") -> None:
        """So much of the total is done. ``note`` says more; it is left out where there is no room."""
        now = self._now()
        if self._is_hidden or now - self._last < (_DRAWN_EACH_S if self._is_terminal else _SAID_EACH_S):
            return
        self._last = now
        line = progress_line(self._what, done, total, now - self._begin, note, bar=self._is_terminal)
        if self._is_terminal:
            self._is_drawn = True
            self._stream.write(f"\r{line:<{WIDTH - 1}}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def tell_of(self, what: str, done: float, total: float) -> None:
        """The same of work in several parts, of which this is one."""
        if what != self._what:
            self._what, self._begin = what, self._now()
        self.tell(done, total)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_drawn:
            self._stream.write(f"\r{'':<{WIDTH - 1}}\r")
            self._stream.flush()


def progress_line(what: str, done: float, total: float, elapsed_s: float, note: str = "", *, bar: bool = False) -> str:
    """One line of less than 80 columns: the share that is done, and the time that is left if it goes on as before. Pure.

    >>> progress_line("events", 50, 200, 10.0, "12,000 events")
    'events: 25 %, 30 s left, 12,000 events'
    >>> progress_line("events", 50, 200, 10.0, bar=True)
    'events  [#####...............]  25 %  30 s left'
    """
    share = min(1.0, max(0.0, done / total)) if total > 0 else 0.0
    parts = [f"{share:.0%}".replace("%", " %")]
    if share > 0 and elapsed_s >= _SURE_AFTER_S:
        parts.append(f"{in_time(elapsed_s * (1 - share) / share)} left")
    if note:
        parts.append(note)
    drawn = f"[{'#' * int(share * _BAR):.<{_BAR}}]"
    while True:
        line = f"{what}  {drawn}  {'  '.join(parts)}" if bar else f"{what}: {', '.join(parts)}"
        if len(line) < WIDTH or len(parts) == 1:
            return line[: WIDTH - 1]
        parts.pop()


def in_time(seconds: float) -> str:
    """
    >>> in_time(45.2), in_time(200), in_time(7300)
    ('45 s', '3 min', '2 h 2 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
