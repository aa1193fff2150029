"""Makes text safe to print: a title may hold characters that move the cursor or reverse the line, a setting may hold a password."""

from __future__ import annotations

import html
import re

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_NO_WIDTH = (0xAD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, *range(0x200B, 0x200E), *range(0x2060, 0x2065), 0x3164, 0xFEFF, 0xFFA0)
_ESCAPED = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *_NO_WIDTH)}
_ESCAPED |= {code: f"\\ud{(code - 0x10000 >> 10) + 0x800:x}\\ud{(code & 0x3FF) + 0xC00:x}" for code in range(0xE0000, 0xE0080)}


def visible(text: str) -> str:
    """The text with control characters, marks of direction and characters without width written out; JSON stays JSON."""
    return text.translate(_ESCAPED)


_MARKUP = re.compile(r"[\\|\[\]`*_!~$]")


def as_markdown(text: str) -> str:
    """Somebody's text as a cell of a Markdown table, in one line: no table, link, picture or tag is made of it.

    >>> as_markdown("a|b <img src=x>")
    'a\\\\|b &lt;img src=x&gt;'
    """
    return _MARKUP.sub(r"\\\g<0>", html.escape(" ".join(visible(text).split()), quote=False))


def as_html(text: str) -> str:
    """Somebody's text as text of an HTML page, or as the value of an attribute in quotes.

    >>> as_html("<b>")
    '&lt;b&gt;'
    """
    return html.escape(visible(text), quote=True)


def without_secrets(text: str) -> str:
    """The text of a setting with what may be a secret in its addresses left out: user and password, query and fragment.

    Rather too much than too little: a password may hold any character.

    >>> without_secrets("https://me:hunter2@registry/x")  # pragma: allowlist secret
    'https://***@registry/x'
    >>> without_secrets("https://registry/x?key=hunter2")
    'https://registry/x?***'
    >>> without_secrets("one:9092,me:hunter2@two:9092")
    '***@two:9092'
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        head, at, tail = text.rpartition("@")
        return f"***@{tail}" if at and ":" in head else text
    _, at, tail = rest.rpartition("@")
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    if at and place != rest:
        return f"{scheme}://***"
    return f"{scheme}://***@{tail}" if at else f"{scheme}://{place}" + ("?***" if place != rest else "")
