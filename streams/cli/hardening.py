"""What a process of the product leaves behind: nothing that other users of the machine may read."""

from __future__ import annotations

import os
import resource

_UMASK = 0o077


def harden() -> None:
    """Files and folders that are written from now on are their owner's alone, and a crash writes no core dump, which would hold the keys.

    Processes that are started later inherit both.
    """
    os.umask(_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
