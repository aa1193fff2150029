"""The text of a piece of HTML: what a reader of the page would see.

The parser of the standard library takes seconds for some kilobytes of tags that are never closed. Text alone needs no tree: one expression
finds what is no text, in a time in proportion to its length but for quotes that never end, which the bound keeps small.
"""

from __future__ import annotations

import re
from html import unescape

MAX_CHARACTERS = 16_384
"""More of a description is not looked at; the encoder reads its beginning only."""
_UNSEEN = "script|style|template|noscript|iframe|object|svg|title|head"
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"
    rf"|<(?P<unseen>{_UNSEEN})\b.*?(?:</(?P=unseen)\b[^<>]*>?|\Z)"
    r"|</?(?P<tag>[a-z][a-z0-9:-]*+)(?:(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+>|[^<>]*+>?)"
    r"|<[!?/][^<>]*+>?",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "ins", "del", "kbd", "label", "mark", "q", "s", "small"),
        *("span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"),
    }
)
_ENDLESS_NUMBER = re.compile(r"&#x?[0-9a-fA-F]{8,}+;?")


def text_of_html(html: str) -> str:
    """Text without tags, comments and scripts; entities become letters, tags that begin or end a block a space.

    >>> text_of_html("<p>Soft&nbsp;wool</p><ul><li>warm<li>light</ul><script>x()</script> 2 < 3")
    'Soft wool warm light 2 < 3'
    """
    html = html[:MAX_CHARACTERS]
    if "<" in html:
        html = _MARKUP.sub(_space, html.replace("<![CDATA[", "").replace("]]>", ""))
    if "&" in html:
        html = unescape(_ENDLESS_NUMBER.sub(" ", html))
    return " ".join(html.split())


def _space(found: re.Match[str]) -> str:
    tag = found["tag"]
    return "" if (tag is not None and tag.lower() in _INLINE) or found[0].startswith("<!") else " "
