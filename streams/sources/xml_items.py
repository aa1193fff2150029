"""The items of an XML feed, one after the other: RSS, Atom, and any XML whose items are elements of a name.

The parser is expat, of the standard library, driven by handlers of our own. What defusedxml adds to it is refusing entities, which are the
handlers below; what lxml adds is not needed, and it is a large library in C that reads strangers' bytes. Nothing is ever fetched, no entity
is ever declared, depth and size of an item are bounded, and no tree of the whole document is built.

An item that is not well-formed is lost alone: the parser begins again at the next one.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from streams.errors import Reason, RecordError
from streams.sources.xml_encoding import UNREADABLE, Decoder, decoder_of, is_utf_8

GOOGLE = "http://base.google.com/ns/1.0"
MAX_DEPTH = 16
"""Of elements in an item."""
MAX_ELEMENTS = 2000
"""Of an item."""
_PLAIN = ("", "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/", "http://purl.org/atom/ns#")
_LOOKED_AT = 1024
_STEP = 16_384
_ROOT = b"<r>"
_TAG = 64
_MISMATCH = expat.errors.codes[expat.errors.XML_ERROR_TAG_MISMATCH]
_MAX_PREFIXES = 100

Found = dict[str, Any] | RecordError


class ForbiddenError(Exception):
    """The document declares entities."""


class _Element:
    """An element while it is read."""

    __slots__ = ("children", "language", "name", "texts")

    def __init__(self, name: str, language: str | None, children: dict[str, Any]) -> None:
        self.name, self.language, self.children = name, language, children
        self.texts: list[str] = []


class XmlItems:
    """Bytes in, items out, as dicts of their elements: text, a dict of elements, or a list where several have the name.

    Names of Google's namespace begin with ``g:``, whatever the feed's own prefix is. Attributes begin with ``@``; an element of a language
    is there once more as ``name@language``. ``feed`` and ``close`` raise RecordError for a document that declares entities, or an
    encoding that is not known: nothing of it is read.
    """

    def __init__(self, names: frozenset[str], *, encoding: str | None = None, max_bytes: int = 1_048_576) -> None:
        """``names``: of the elements that are items, without prefix. ``encoding``: in place of the declared one. ``max_bytes``: of an
        item, in UTF-8."""
        self._names, self._encoding, self._max_bytes = names, encoding, max_bytes
        tags = b"|".join(re.escape(name.encode()) for name in sorted(names))
        self._next = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,30}:)?(?:" + tags + rb")(?=[\s/>])")
        self._decoder: Decoder | None = None
        self._first = b""
        self._prefixes: dict[str, str] = {}
        self._found: list[Found] = []
        self._began = self._seeks = self._restarted = False
        self._rest = b""
        self._stack: list[_Element] = []
        self._problem: str | None = None
        self._letters: list[str] = []
        self._parser = self._new_parser()

    def feed(self, data: bytes) -> list[Found]:
        """The items that are complete."""
        if self._decoder is None:
            self._first += data
            if len(self._first) < _LOOKED_AT:
                return []
            data = self._begin()
        return self._take(data, last=False)

    def close(self) -> list[Found]:
        """What is left. That a document breaks off is told as a RecordError at the end."""
        return self._take(self._begin() if self._decoder is None else b"", last=True)

    def _begin(self) -> bytes:
        """Chooses the decoder; gives what had come so far."""
        first, self._first = self._first, b""
        self._decoder = decoder_of(first, self._encoding)
        return first

    def _take(self, data: bytes, *, last: bool) -> list[Found]:
        if self._decoder is None:
            raise TypeError("nothing was begun")
        try:
            for start in range(0, len(data), _STEP):
                self._parse(self._decoder.decode(data[start : start + _STEP]).encode("utf-8", "replace"))
            if last:
                self._parse(self._decoder.decode(b"", final=True).encode("utf-8", "replace"))
                self._end()
        except ForbiddenError:
            raise RecordError(Reason.UNDECODABLE, "the XML declares entities, which is not allowed") from None
        found, self._found = self._found, []
        return found

    def _parse(self, data: bytes) -> None:
        """Feeds the parser. Where it gives up, a new one begins at the next item."""
        if not self._began:
            data = data.lstrip()
            self._began = bool(data)
        if self._seeks:
            data, self._rest = self._rest + data, b""
        while True:
            if self._seeks:
                match = self._next.search(data)
                if match is None:
                    self._rest = data[-_TAG:]  # half of a tag may be there
                    return
                data = data[match.start() :]
                self._restart()
            try:
                self._parser.Parse(data, False)
            except expat.ExpatError as error:
                # Between items a tag of an item may be what is wrong: it is not tried again.
                place = self._parser.ErrorByteIndex - self._fed + (not self._stack)
                self._failed(expat.ErrorString(error.code), is_end=self._restarted and error.code == _MISMATCH)
                data = data[max(0, place) :]
                continue
            self._fed += len(data)
            self._quiet += len(data)
            if self._quiet > self._max_bytes:
                self._failed("a part of it is too large")
            return

    def _end(self) -> None:
        if self._seeks:
            return
        if not self._began:
            self._found.append(RecordError(Reason.EMPTY, "there is no XML in it"))
        elif self._restarted:
            if self._stack:
                self._failed("the XML breaks off")
        else:
            try:
                self._parser.Parse(b"", True)
            except expat.ExpatError:
                self._failed("the XML breaks off")

    def _restart(self) -> None:
        self._parser = self._new_parser()
        self._parser.Parse(_ROOT, False)
        self._fed, self._restarted, self._seeks = len(_ROOT), True, False

    def _failed(self, why: str, *, is_end: bool = False) -> None:
        """Counts what is lost, an item or something between two items, and looks for the next item. ``is_end``: at the end of an element
        that a new parser has not seen begin."""
        if self._stack:
            self._found.append(RecordError(Reason.UNDECODABLE, f"an item of the XML is not well-formed: {why}"))
        elif not is_end:
            self._found.append(RecordError(Reason.UNDECODABLE, f"the XML is not well-formed between its items: {why}"))
        self._stack, self._seeks = [], True

    def _new_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.specified_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._stop
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = self._ignore
        parser.ProcessingInstructionHandler = self._ignore
        parser.EntityDeclHandler = self._forbid
        parser.SkippedEntityHandler = self._skipped
        self._stack, self._problem, self._letters = [], None, []
        self._size = self._elements = self._too_deep = 0
        self._fed = self._quiet = 0
        return parser

    def _ignore(self, *_: object) -> None:
        self._quiet = 0

    def _forbid(self, *_: object) -> None:
        raise ForbiddenError

    def _skipped(self, *_: object) -> None:
        self._problem = "it has an entity that is not declared"

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._quiet = 0
        for name, value in attributes.items():
            if (name == "xmlns" or name.startswith("xmlns:")) and len(self._prefixes) < _MAX_PREFIXES:
                self._prefixes[name[6:]] = value
        if not self._stack:
            if tag.rpartition(":")[2] not in self._names:
                return
            self._problem, self._size, self._elements, self._too_deep, self._letters = None, 0, 0, 0, []
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._stack) >= MAX_DEPTH:
            self._problem = "it has too many elements" if self._elements > MAX_ELEMENTS else "its elements are nested too deeply"
            self._too_deep += 1
            return
        own = {f"@{name}": value for name, value in attributes.items() if not name.startswith("xmlns")}
        self._count(sum(map(len, own.values())), "".join(own.values()))
        self._stack.append(_Element(self._name(tag), attributes.get("xml:lang"), own))

    def _characters(self, text: str) -> None:
        self._quiet = 0
        if self._stack:
            self._count(len(text), text)
            if self._problem is None:
                self._stack[-1].texts.append(text)

    def _count(self, size: int, text: str) -> None:
        self._size += size
        if self._size > self._max_bytes:
            self._problem = f"it has more than {self._max_bytes} characters"
        elif not text.isascii():
            if UNREADABLE in text:
                self._problem = "it is not in the declared encoding; say `encoding:` in the mapping"
            elif self._decoder is not None and self._decoder.single is not None:
                self._letters.append(text)

    def _stop(self, tag: str) -> None:
        self._quiet = 0
        if not self._stack:
            return
        if self._too_deep:
            self._too_deep -= 1
            return
        element = self._stack.pop()
        if not self._stack:
            single = self._decoder.single if self._decoder is not None else None
            if self._problem is None and single is not None and is_utf_8("".join(self._letters), single):
                self._problem = "it is UTF-8, and declared as another encoding; say `encoding: utf-8` in the mapping"
            if self._problem is not None:
                self._found.append(RecordError(Reason.BAD_SHAPE, f"an item of the XML can't be read: {self._problem}"))
            else:
                self._found.append(element.children)
            return
        text = "".join(element.texts).strip()
        is_text = all(name.startswith("@") for name in element.children)
        value: Any = text if is_text else element.children
        into = self._stack[-1].children
        _put(into, element.name, value)
        if element.language:
            _put(into, f"{element.name}@{element.language.lower()}", value)
        if is_text:
            for name, attribute in element.children.items():
                _put(into, f"{element.name}{name}", attribute)

    def _name(self, tag: str) -> str:
        prefix, _, local = tag.rpartition(":")
        uri = self._prefixes.get(prefix, "")
        if uri.rstrip("/") == GOOGLE or (prefix == "g" and not uri):
            return f"g:{local}"
        return local if not prefix or uri in _PLAIN else tag


def _put(into: dict[str, Any], name: str, value: Any) -> None:
    before = into.get(name)
    if before is None:
        into[name] = value
    elif type(before) is list:
        before.append(value)
    else:
        into[name] = [before, value]
