"""Which items a query names by its very letters: part numbers, brands, model codes, and words with a letter wrong.

A text becomes terms. Of words of an alphabet these are the word and its trigrams, so that a typing mistake costs some of them only; a
part number counts with and without its hyphens. Chinese, which has no spaces, becomes single characters and pairs of them. Items carry
their terms as hashes of 32 bits, next to their vectors. A query's score for an item is the share of the query that the item has, each
term weighed by its rarity (inverse document frequency: Spärck Jones, "A statistical interpretation of term specificity and its
application in retrieval", 1972).
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterator
from math import log
from zlib import crc32

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray

MOST_TERMS = 256
"""Of an item; those of the beginning of its text."""
_MOST_CHARACTERS = 2000
_QUERY_CHARACTERS = 256
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Also kana: neither is written with spaces."""
_CODE = re.compile(rf"[^\W_{_HAN}]+(?:[-_./][^\W_{_HAN}]+)+")
_WORD = re.compile(rf"[^\W_{_HAN}]+")
_RUN = re.compile(rf"[{_HAN}]+")
_TRIGRAMS_SHARE = 0.5
"""What all of a word's trigrams weigh together; the word itself weighs 1."""
_CHARACTERS_SHARE = 0.3
"""What a single Chinese character weighs; a pair weighs 1."""

Terms = npt.NDArray[np.uint32]


def item_terms(text: str, item_id: str) -> bytes:
    """The terms of an item's text and id, as little-endian unsigned integers of 32 bits, each once."""
    found = dict.fromkeys(number for number, _ in _terms(f"{text[:_MOST_CHARACTERS]} {item_id}"))
    return np.fromiter(list(found)[:MOST_TERMS], np.uint32).astype("<u4").tobytes()


def query_terms(query: str) -> dict[int, float]:
    """The terms of a query, and what each weighs before its rarity."""
    found: dict[int, float] = {}
    for number, weight in _terms(query[:_QUERY_CHARACTERS]):
        found[number] = max(weight, found.get(number, 0.0))
    return found


class TermIndex:
    """Rows by term. A row has the terms that it was last put with."""

    def __init__(self) -> None:
        self._rows: dict[int, array[int]] = {}
        self._terms: dict[int, bytes] = {}

    def put(self, row: int, terms: bytes) -> None:
        """Set a row's terms; empty: it has none."""
        before = self._terms.get(row, b"")
        if before == terms:
            return
        old, new = set(_numbers(before)), set(_numbers(terms))
        for term in old - new:
            rows = self._rows[term]
            rows.remove(row)
            if not rows:
                del self._rows[term]
        for term in new - old:
            self._rows.setdefault(term, array("I")).append(row)
        if terms:
            self._terms[row] = terms
        else:
            self._terms.pop(row, None)

    def match(self, query: str) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Rows that share a term with the query, ascending, and their scores, above 0 and at most 1."""
        terms = query_terms(query)
        count = len(self._terms)
        whole, found, weights = 0.0, [], []
        for term, weight in terms.items():
            rows = self._rows.get(term)
            rarity = weight * log(1.0 + count / (1 if rows is None else len(rows)))
            whole += rarity
            if rows is not None:
                found.append(np.frombuffer(rows, np.uint32))
                weights.append(np.full(len(rows), rarity))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        rows_, places = np.unique(np.concatenate(found), return_inverse=True)
        scores = np.bincount(places, np.concatenate(weights)) / whole
        return rows_.astype(np.int64), scores.astype(np.float32)


def _numbers(terms: bytes) -> list[int]:
    numbers: list[int] = np.frombuffer(terms[: len(terms) // 4 * 4], "<u4").tolist()
    return numbers


def _terms(text: str) -> Iterator[tuple[int, float]]:
    text = unicodedata.normalize("NFKC", text).casefold()
    for code in _CODE.findall(text):
        yield _hash("w", re.sub(r"[-_./]", "", code)), 1.0
    for word in _WORD.findall(text):
        yield _hash("w", word), 1.0
        framed = f" {word} "
        trigrams = [framed[n : n + 3] for n in range(len(framed) - 2)] if len(word) > 2 else []
        for trigram in trigrams:
            yield _hash("t", trigram), _TRIGRAMS_SHARE / len(trigrams)
    for run in _RUN.findall(text):
        for character in run:
            yield _hash("c", character), _CHARACTERS_SHARE if len(run) > 1 else 1.0
        for n in range(len(run) - 1):
            yield _hash("p", run[n : n + 2]), 1.0


def _hash(kind: str, term: str) -> int:
    return crc32(f"{kind}{term}".encode())
