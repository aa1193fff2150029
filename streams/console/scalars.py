"""Reads the scalars of a TensorBoard log, as the trainer writes them: a few kilobytes, without TensorBoard.

The file is a row of records: length (8 bytes), checksum, an event, checksum. An event is a protocol buffer: field 2 is the step, field 5
the summary, whose values have a tag (field 1) and a float (field 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_BYTES = 4 << 20
_TAGS: Mapping[str, str] = {"finetune/loss": "loss", "finetune/validation": "validation"}

Points = list[tuple[float, float]]


def read_curves(folder: Path) -> dict[str, Points]:
    """Loss and validation by step; empty where there is no log that can be read. A log is cut at ``MOST_BYTES``, or where it is damaged."""
    found: dict[str, dict[float, float]] = {}
    try:
        files = sorted(folder.glob("events.out.tfevents.*"))
        contents = [_head(path) for path in files]
    except OSError:
        return {}
    for content in contents:
        for tag, step, value in scalars(content):
            if tag in _TAGS:
                found.setdefault(_TAGS[tag], {})[float(step)] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def scalars(content: bytes) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value of each scalar, up to what is damaged."""
    place = 0
    while place + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        event = content[place + 12 : place + 12 + length]
        if len(event) < length:
            return
        try:
            yield from _of_event(event)
        except (ValueError, struct.error):
            return
        place += 12 + length + 4


def _of_event(event: bytes) -> Iterator[tuple[str, int, float]]:
    step, summaries = 0, []
    for number, value in _fields(event):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in _fields(summary):
            if number != 1 or not isinstance(value, bytes):
                continue
            own = dict(_fields(value))
            tag, scalar = own.get(1), own.get(2)
            if isinstance(tag, bytes) and isinstance(scalar, bytes) and len(scalar) == 4:
                yield tag.decode(errors="replace"), step, struct.unpack("<f", scalar)[0]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol buffer's fields: integers, or bytes. Raises ValueError where it is none."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value: int | bytes
            value, place = _varint(message, place)
        else:
            if kind == 2:
                length, place = _varint(message, place)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError("no field")
            value = message[place : place + length]
            if len(value) < length:
                raise ValueError("cut off")
            place += length
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("cut off")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no number")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)
