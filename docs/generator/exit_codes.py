"""The page of exit codes."""

from __future__ import annotations

from docs.generator.markdown import NOTICE, table
from streams.cli.exit_codes import ExitCode

_TEXT = """# Exit codes
{notice}

Every `veilstream` command ends with one of these. [commands.md](commands.md) says of each check when it ends with {failed}.

{table}

A process that was killed has the shell's code: 128 and the number of the signal, such as 137 for `kill -9`. A killed worker loses nothing
and writes nothing twice ([decision 0003](../decisions/0003-delivery.md)).
"""


def page() -> str:
    """The page's text, from the table in ``streams/cli/exit_codes.py``."""
    rows = [(f"`{code.value}`", code.name.lower().replace("_", " "), code.meaning) for code in ExitCode]
    return _TEXT.format(notice=NOTICE, failed=f"`{ExitCode.FAILED.value}`", table=table(("code", "name", "meaning"), rows))
