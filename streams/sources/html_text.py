"""The text of a piece of HTML: what a reader of the page would see."""

from __future__ import annotations

from html.parser import HTMLParser

MAX_CHARACTERS = 65_536
"""More of a description is not looked at; the encoder reads its beginning only."""
_UNSEEN = frozenset({"script", "style", "template", "noscript", "iframe", "object", "svg", "title", "head"})
_INLINE = frozenset(
    {
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "cite",
        "code",
        "em",
        "font",
        "i",
        "kbd",
        "mark",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "u",
        "wbr",
    }
)


def text_of_html(html: str) -> str:
    """Text without tags, comments and scripts; entities become letters, tags that begin or end a block a space.

    >>> text_of_html("<p>Soft&nbsp;wool</p><ul><li>warm<li>light</ul><script>x()</script> 2 < 3")
    'Soft wool warm light 2 < 3'
    """
    if "<" not in html and "&" not in html:
        return " ".join(html[:MAX_CHARACTERS].split())
    reader = _Reader()
    reader.feed(html[:MAX_CHARACTERS])
    reader.close()
    return " ".join("".join(reader.parts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        if tag not in _INLINE:
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        if tag not in _INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)
