"""The id of an event of a file that has none."""

from __future__ import annotations

from hashlib import blake2b

from streams.producers.csv_rows import Row


def event_id(row: Row) -> str:
    """A hash of the row's content and place, 32 hexadecimal characters.

    So a file that is published twice, renamed, or extended at its end applies each event once. Two equal rows of one file are two
    events. Another file under the same name does not collide with the first.
    """
    return blake2b(f"{row.number}\n{row.text}".encode(), digest_size=16).hexdigest()
