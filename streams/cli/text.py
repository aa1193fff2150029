"""Makes text from records safe to print: a title may hold characters that move the cursor or reverse the line."""

from __future__ import annotations

_ESCAPED = {
    code: f"\\u{code:04x}"
    for code in [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
}


def visible(text: str) -> str:
    """The text with control characters and marks of direction written out; JSON stays JSON."""
    return text.translate(_ESCAPED)
