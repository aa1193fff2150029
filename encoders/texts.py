"""What every encoder asks of its input."""

from __future__ import annotations

from collections.abc import Sequence


def check_texts(texts: Sequence[str]) -> None:
    """Raises TypeError for one bare text in place of a list, and for an element that is not text, naming its index."""
    if isinstance(texts, str):
        raise TypeError("texts is one str; give a list of them")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is {type(text).__name__}, not str")
