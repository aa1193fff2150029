"""Which of the page's languages a reader gets. Pure."""

from __future__ import annotations

LANGUAGES = ("en", "zh")


def choose_language(asked: str | None, accept: str) -> str:
    """``asked``: of the address (``?lang=``). ``accept``: the header Accept-Language. English where neither names one that there is.

    >>> choose_language(None, "de, zh-CN;q=0.8, en;q=0.5"), choose_language("en", "zh"), choose_language("xx", "")
    ('zh', 'en', 'en')
    """
    if asked in LANGUAGES:
        return asked
    found = []
    for place, part in enumerate(accept.split(",")[:50]):
        tag, _, weight = part.strip().partition(";q=")
        name = tag.strip().lower().split("-")[0]
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if name in LANGUAGES and quality > 0:
            found.append((-quality, place, name))
    return min(found)[2] if found else LANGUAGES[0]
