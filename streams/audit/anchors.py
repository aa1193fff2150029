"""Heads of chains that are kept elsewhere: in the first link of another chain, and in a file. Who cuts the end off a chain would have to
change those, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from streams.audit.chain import ChainId, Head
from streams.errors import ConfigurationError
from streams.files import read_trusted, replace_file

RUN = "run/"
"""What the chain of a process's run begins with."""
MOST_IN_A_LINK = 1000

_PREFIX = "head "
MARK = _PREFIX.encode()
"""A value without these bytes holds no anchor."""
_HEAD = re.compile(r"(0|[1-9][0-9]{0,17}) ([0-9a-f]{64})")
_STAGE = re.compile(r"[a-z]{1,32}")
_FORMAT = 1
_MOST_FILE_BYTES = 256 << 20


class Anchor(NamedTuple):
    """What something says of a chain."""

    chain: ChainId
    head: Head
    said_by: str
    """For an operator to read."""


def heads_in_details(heads: Iterable[tuple[ChainId, Head]]) -> dict[str, str]:
    """Details of a link that anchors these chains, ``MOST_IN_A_LINK`` of them at most."""
    found: dict[str, str] = {}
    for chain, head in heads:
        if len(found) == MOST_IN_A_LINK:
            break
        found[f"{_PREFIX}{chain.stage} {chain.chain}"] = f"{head.sequence} {head.hash.hex()}"
    return found


def anchors_in(record: Mapping[str, Any], said_by: str) -> Iterator[Anchor]:
    """The anchors in a link: there are some in the first of a run's chain only. What does not look like one is none."""
    if record["sequence"] != 0 or not record["chain"].startswith(RUN):
        return
    for name, value in record["details"].items():
        stage, separator, chain = name.removeprefix(_PREFIX).partition(" ")
        found = _HEAD.fullmatch(value)
        if name.startswith(_PREFIX) and separator and found is not None:
            yield Anchor(ChainId(stage, chain), Head(int(found[1]), bytes.fromhex(found[2])), said_by)


def read_anchors(path: Path) -> list[Anchor]:
    """The anchors of a file that ``write_anchors`` made; none if there is no file. Raises ConfigurationError for a file that others may
    write, that is none of these, or can't be read."""
    try:
        data = read_trusted(path, _MOST_FILE_BYTES, "anchor file", secret=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"the anchor file {path} can't be read ({error.strerror})") from None
    try:
        found = json.loads(data)
        if found["format"] != _FORMAT:
            raise ConfigurationError(f"the anchor file {path} is of another version of veilstream; use that one, or name a new file")
        said_by = f"the anchor file of {found['verified_at']}"
        return [Anchor(ChainId(*_chain(chain)), Head(int(sequence), _hash(hash_)), said_by) for chain, sequence, hash_ in found["chains"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is no anchor file, or damaged ({type(error).__name__}); find out who changed it, and use a copy or a new file"
        ) from None


def write_anchors(path: Path, heads: Mapping[ChainId, Head], *, links: int, verified_at: str) -> None:
    """Put the heads of a verified topic into the file, which only its owner may read; there is the old file or the new one, never a part.
    Raises ConfigurationError if it can't be written."""
    chains = [[[*chain], head.sequence, head.hash.hex()] for chain, head in sorted(heads.items())]
    data = json.dumps({"format": _FORMAT, "verified_at": verified_at, "links": links, "chains": chains})
    try:
        replace_file(path, data.encode() + b"\n", mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"the anchor file {path} can't be written ({error.strerror}); choose another place") from None


def _chain(value: list[str]) -> tuple[str, str]:
    stage, chain = value
    if not _STAGE.fullmatch(stage) or not isinstance(chain, str):
        raise ValueError("no name of a chain")
    return stage, chain


def _hash(text: str) -> bytes:
    if len(text) != 64:
        raise ValueError("no hash")
    return bytes.fromhex(text)
