"""The exit codes of every ``veilstream`` command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a caller can act on. A number never changes its meaning; docs/reference/exit-codes.md is written from this table."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "The command did what was asked. A worker or trainer was asked to stop (SIGTERM, SIGINT) and has written all it had."
    FAILED = (
        1,
        "A failure, or a check that found something wrong. One line on standard error says what, and how to mend it. A process manager "
        "should start a worker again.",
    )
    WRONG_USE = 2, "An unknown command or option, or a value that an option does not take. Nothing was done."
    INTERRUPTED = 130, "Interrupted (Ctrl-C) before the end. What a command had published by then stays published."
