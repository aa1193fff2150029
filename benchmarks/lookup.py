"""How well a search finds the item that is meant, by meaning, by the letter, and by both: ``python -m benchmarks.lookup``.

Queries are made of the titles of the simulated shop (English and Chinese) and of the shared year: as they stand, with a typing mistake,
a few words or characters only, in full width, a made-up part number, and the same thing in the other language. One item is meant by each.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import save
from encoders import load_encoder
from streams.engine.records import MemoryRecord
from streams.producers.csv_files import ReadReport, read_items
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.lexical import item_terms
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Request
from streams.ranking.rules import ProfileRules
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.codec import local_codecs
from streams.serde.vectors import to_bytes, vector_key
from streams.settings import Settings
from streams.simulator.catalogue import make_catalogue
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS

K, EACH = 10, 150
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "online_retail_2010_2011"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def titles() -> dict[str, str]:
    """Item id to title, no title twice; every tenth has a part number."""
    rng, found = random.Random(20), {}
    for item in make_catalogue(3_000, rng):
        found[f"s{len(found)}"] = item.title
    if (DATA / "items.csv.gz").exists():
        for row in read_items(DATA / "items.csv.gz", ReadReport()):
            found[f"r{row['item_id']}"] = row["title"]
    unique = {title: item for item, title in found.items()}
    for number, title in enumerate(list(unique)):
        if number % 10 == 0:
            unique[f"{title} {rng.choice('ABCDXYZ')}{rng.choice('KLMN')}-{rng.randint(100, 9999)}"] = unique.pop(title)
    return {item: title for title, item in unique.items()}


def typo(text: str, rng: random.Random) -> str:
    """One letter wrong, missing or doubled, or two swapped; of Chinese a character missing."""
    place, kind = rng.randrange(len(text) - 1), rng.randrange(4)
    if not text.isascii():
        return text[:place] + text[place + 1 :]
    return (
        text[:place] + rng.choice(_LETTERS) + text[place + 1 :],
        text[:place] + text[place + 1 :],
        text[:place] + text[place] + text[place:],
        text[:place] + text[place + 1] + text[place] + text[place + 2 :],
    )[kind]


def part(text: str, rng: random.Random) -> str:
    """Two thirds of the words, or of the characters."""
    pieces = text.split() if text.isascii() else list(text)
    kept = sorted(rng.sample(range(len(pieces)), max(1, round(2 * len(pieces) / 3))))
    return (" " if text.isascii() else "").join(pieces[n] for n in kept)


def full_width(text: str, _: random.Random) -> str:
    """As a Chinese input method writes letters and digits."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


KINDS: Mapping[str, Callable[[str, random.Random], str]] = {
    "the title": lambda text, _: text.lower(),
    "with a mistake": typo,
    "two thirds of it": part,
    "part and mistake": lambda text, rng: typo(part(text, rng) + "  ", rng).strip() or text,
    "full width": full_width,
}
CODE = re.compile(r"\b[A-Z]{2}-\d{3,4}\b")


def queries(items: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Kind of query to (query, item that is meant)."""
    rng, found = random.Random(21), {}
    for script, some in (("English", [i for i in items if items[i].isascii()]), ("Chinese", [i for i in items if not items[i].isascii()])):
        for kind, change in KINDS.items():
            found[f"{script}: {kind}"] = [(change(items[item], rng), item) for item in rng.sample(some, EACH)]
    codes = [
        (match[0].replace("-", rng.choice(("", "-", " "))).lower(), item) for item, title in items.items() if (match := CODE.search(title))
    ]
    found["part number"] = rng.sample(codes, min(EACH, len(codes)))
    return found


def judge(answers: Sequence[Sequence[str]], wanted: Sequence[str]) -> dict[str, float]:
    """Mean reciprocal rank and recall among ten."""
    places = [found.index(item) + 1 if item in found else 0 for found, item in zip(answers, wanted, strict=True)]
    return {"mrr@10": float(np.mean([1 / p if p else 0.0 for p in places])), "recall@10": float(np.mean([p > 0 for p in places]))}


def shop(model: str, items: Mapping[str, str], asked: Sequence[str]) -> tuple[ItemMatrix, dict[str, Any]]:
    """The item matrix of the stages, and the queries' vectors in its space."""
    encoder = load_encoder(model, device="cpu")
    codec = local_codecs().for_topic(ITEMS_VECTORS)
    matrix = WhitenedItemMatrix(codec, encoder.version, encoder.dimension)
    for (item, title), vector in zip(items.items(), encoder.encode(list(items.values())), strict=True):
        value = {"item_id": item, "model_version": encoder.version, "vector": to_bytes(vector), "text_hash": "", "recommendable": True}
        value |= {"category": None, "price_band": None, "encoded_at": 0, "terms": item_terms(title, item)}
        matrix.apply([MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(encoder.version, item), codec.encode(value))])
    return matrix, dict(zip(asked, map(matrix.transform, encoder.encode(list(asked))), strict=True))


def main() -> None:
    """Measure and save."""
    items = titles()
    by_kind = queries(items)
    asked = list(dict.fromkeys(query for query, _ in chain.from_iterable(by_kind.values())))
    popularity = PopularityTable(local_codecs().for_topic(ITEMS_POPULARITY), 1e9)
    result: dict[str, Any] = {"items": len(items), "each": EACH, "models": {}}
    for model in os.environ.get("BENCH_MODELS", "bundled-en,bundled-multilingual").split(","):
        matrix, vectors = shop(model, items, asked)
        found: dict[str, Any] = {}
        for way, weight, known in (*((f"both, {w:g}" if w else "meaning", w, vectors) for w in WEIGHTS), ("letters", 1.0, {})):
            rules = ProfileRules.from_settings(Settings(match_weight=weight, threshold=-9.0, top_k=K, reasons_max=0))
            for kind, pairs in by_kind.items():
                requests = [Request([], [], [], query, [], 0) for query, _ in pairs]
                answers = [ranked.items for ranked in rank(requests, matrix, popularity, known, rules)]
                found.setdefault(kind, {})[way] = judge(answers, [item for _, item in pairs])
        result["models"][model] = found
        for kind, ways in found.items():
            print(model, kind, {way: f"{m['mrr@10']:.3f}/{m['recall@10']:.3f}" for way, m in ways.items()}, flush=True)
    print(f"wrote {save('lookup', result)}")


if __name__ == "__main__":
    main()
