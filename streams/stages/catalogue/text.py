"""An item as the text that the encoder reads, and that text's fingerprint."""

from __future__ import annotations

from hashlib import blake2b

from streams.serde.records import Item


def item_text(item: Item, max_characters: int) -> str:
    """Title, category, brand and the beginning of the description, as sentences; at most ``max_characters``.

    The title comes first, since an encoder that cuts cuts the end. A brand or category that the title already says is not
    said twice: repeated words would weigh twice in the mean over tokens.
    """
    parts = [item["title"]]
    said = item["title"].casefold()
    for part in (item["category"], item["brand"]):
        if part and part.casefold() not in said:
            parts.append(part)
            said = f"{said}. {part.casefold()}"
    if item["description"]:
        parts.append(item["description"])
    return ". ".join(parts)[:max_characters].rstrip()


def text_hash(text: str) -> str:
    """BLAKE2b-128 of the UTF-8 text, 32 hexadecimal characters."""
    return blake2b(text.encode(), digest_size=16).hexdigest()
