"""The encoding of an XML document: as its first bytes, its declaration or the mapping say, and what speaks against it."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from streams.errors import Reason, RecordError

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
UNREADABLE = "\ufdd0"
"""No character, and allowed in XML: it stands for bytes that are none in the declared encoding."""
_MARKED = str.maketrans({code: UNREADABLE for code in range(0xDC80, 0xDD00)})
_WIDE = ("utf-16", "utf-32")
_SINGLE = ("iso8859", "cp125", "latin", "mac", "koi8")
_ALPHABETS = (
    *("utf-8", "utf-16", "utf-32", "ascii", "iso8859", "latin", "cp", "mac", "koi8", "kz1048", "tis", "gb", "big5", "euc", "shift_jis"),
    "johab",
)
"""Beginnings of the names of encodings that are alphabets: Python knows others, such as escapes."""
_WIDER = {"utf-8": "utf-8-sig", "gb2312": "gb18030", "gbk": "gb18030"}
"""What is called by the first is written in the second, as browsers read it (WHATWG, Encoding)."""
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Decoder(NamedTuple):
    """What makes text of the bytes; bytes that are none in the encoding become ``UNREADABLE``."""

    decoder: codecs.IncrementalDecoder
    single: str | None
    """The encoding, if it has one byte a character: nearly any bytes are text in it."""

    def decode(self, data: bytes, *, final: bool = False) -> str:
        return self.decoder.decode(data, final).translate(_MARKED)


def decoder_of(first: bytes, encoding: str | None) -> Decoder:
    """The decoder of a document that begins with these bytes; ``encoding`` is in place of the declared one. Raises RecordError for one that
    is not known."""
    try:
        info = codecs.lookup(encoding or encoding_of(first))
        if not info.name.startswith(_ALPHABETS):
            raise LookupError
    except LookupError:
        raise RecordError(Reason.UNDECODABLE, "the XML declares an encoding that is not known; say `encoding:` in the mapping") from None
    name = _WIDER.get(info.name, info.name)
    made = codecs.getincrementaldecoder(name)("replace" if name.startswith(_WIDE) else "surrogateescape")
    return Decoder(made, name if name.startswith(_SINGLE) else None)


def encoding_of(first: bytes) -> str:
    """By the byte order mark, by the first bytes, by the declaration; UTF-8 if none says anything (XML 1.0, appendix F)."""
    for mark, name in _BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return name
    if first[:2] in (b"<\0", b"\0<"):
        return "utf-16-le" if first[:1] == b"<" else "utf-16-be"
    declared = _DECLARATION.match(first)
    if declared is None:
        return "utf-8"
    name = declared[1].decode().lower()
    # Bytes in which this declaration can be read are not of it.
    return "utf-8" if name.startswith(("utf-16", "utf16", "ucs-2", "utf-32", "iso-10646-ucs")) else name


def is_utf_8(letters: str, encoding: str) -> bool:
    """Whether what was read as another encoding was UTF-8: all its letters beyond ASCII form sequences of UTF-8, which no text does by
    chance."""
    if letters.isascii():
        return False
    try:
        letters.encode(encoding, "replace").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
