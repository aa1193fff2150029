"""Writes the tables of README.md from the results, so that the two can't differ: ``python -m benchmarks.report``."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

README = Path(__file__).resolve().parent / "README.md"


def write_tables() -> None:
    """Renew the text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` for every result there is."""
    text = README.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            lines = "\n".join((*table(result), "", _where(result)))
            text, found = re.subn(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, t=lines: f"{m[1]}{t}\n{m[2]}", text, flags=re.S)  # type: ignore[misc]
            if not found:
                raise SystemExit(f"error: README.md has no place for {name}; put <!-- {name} --> and <!-- /{name} --> where its table goes")
    README.write_text(text, encoding="utf-8")


def _where(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['measured_at'][:10]}; every run is in the results file."


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _pipeline(result: dict[str, Any]) -> list[str]:
    rows = [[name, f"{result[f'{name}_median']:,.0f}"] for name in ("veilstream", "plain_faust")]
    rounds = ", ".join(f"{a / b:.2f}" for a, b in zip(*result["runs"].values(), strict=True))
    return [
        *_rows(["whole pipeline", "events/s, median"], rows),
        "",
        f"Veilstream is **{result['ratio_median']:.1f} ×** as fast (median of the rounds: {rounds}).",
    ]


def _latency(result: dict[str, Any]) -> list[str]:
    rows = []
    for rate in next(iter(result["medians"].values())):
        for name, by_rate in result["medians"].items():
            rows.append([rate, name, *(f"{by_rate[rate][q]:,.1f}" for q in ("p50", "p90", "p99", "p99.9", "max"))])
    return [
        *_rows(["rate", "system", "p50, ms", "p90", "p99", "p99.9", "max"], rows),
        "",
        f"Medians of {len(result['runs']['bare']['20/s'])} rounds. Capacity is {result['capacity']:,} events/s here; at half of it "
        f"Veilstream's p99 is {result['p99_to_bare_at_half_of_capacity']:.1f} × the bare hop's.",
    ]


def _avro(result: dict[str, Any]) -> list[str]:
    rows = [
        [name, f"{ratio['fastavro_median']:.1f}", f"{ratio['compiled_median']:.1f}", f"{ratio['ratio_median']:.1f} ×"]
        for name, ratio in result.items()
        if name != "machine"
    ]
    return _rows(["one value, µs", "fastavro", "compiled", "faster"], rows)


def _sources(result: dict[str, Any]) -> list[str]:
    names = {"plain": "plain JSON", "mapping": "JSON, a mapping of eleven fields", "segment": "JSON, the preset `segment`", "avro": "Avro"}
    rows = [
        [text, f"{statistics.median(result['runs'][name]):,.0f}", f"{result[name]['ratio_median']:.2f}" if name in result else "1"]
        for name, text in names.items()
    ]
    return _rows(["through the ingest stage", "events/s, median", "to plain JSON"], rows)


def _stages(result: dict[str, Any], *names: str) -> list[str]:
    """Two candidates of ``stage_rounds``, part by part."""
    parts = {
        "pipeline": "ingest, profile and feedback together",
        "ingest": "ingest alone",
        "profile": "profile alone",
        "feedback": "feedback alone",
    }
    rows = [
        [text, *(f"{result[part][f'{name}_median']:,.0f}" for name in names), f"{result[part]['ratio_median']:.2f}"]
        for part, text in parts.items()
    ]
    return _rows(["events/s, medians", *names, "ratio"], rows)


def _privacy(result: dict[str, Any]) -> list[str]:
    return _stages(result, "all", "bare")


def _at_rest(result: dict[str, Any]) -> list[str]:
    one = result["values"]
    return [
        *_stages(result, "sealed", "plain"),
        "",
        f"A value of {result['value_bytes']:,} bytes: {one['seal_us_again']:.1f} µs to seal, {one['open_us_again']:.1f} µs to open, "
        f"{one['added_bytes_a_value']:.0f} bytes more; with a data key that is not in use yet {one['seal_us_first']:.1f} µs.",
        f"A new data key: {one['new_data_key_us']:.1f} µs; its record has {one['data_key_record_bytes']:.0f} bytes, and takes "
        f"{one['memory_bytes_a_shopper']:.0f} bytes of the worker's memory.",
    ]


def _consent(result: dict[str, Any]) -> list[str]:
    names = {"agreed": "all agree to everything", "no_training": "none allows training", "refused": "none allows personalization"}
    rows = [["every shopper allows everything, nobody asks", f"{statistics.median(result['runs']['without']):,.0f}", "1"]]
    rows += [
        [text, f"{statistics.median(result['runs'][name]):,.0f}", f"{result[name]['ratio_median']:.2f}"] for name, text in names.items()
    ]
    return [
        *_rows(["through the ingest stage, Avro", "events/s, median", "to the first"], rows),
        "",
        f"A shopper's decisions take {result['bytes_a_shopper']:.0f} bytes, a look-up {result['lookup_us']:.1f} µs of processor time.",
    ]


def _encoder(result: dict[str, Any]) -> list[str]:
    lines = []
    for model, found in result["models"].items():
        lines += [f"**{model}**", "", *_one_encoder(found), ""]
    return [*lines, "![texts per second](results/encoder.png)"]


def _one_encoder(result: dict[str, Any]) -> list[str]:
    names = ("veilstream", "sentence_transformers", "one_by_one")
    ratios = [1.0, result["to_sentence_transformers"]["ratio_median"], result["to_one_by_one"]["ratio_median"]]
    rows = [[name, f"{result['medians'][name]:,.0f}", f"{ratio:.2f} ×"] for name, ratio in zip(names, ratios, strict=True)]
    rounds = result["runs"]
    spread = ", ".join(f"{a / b:.2f}" for a, b in zip(rounds["veilstream"], rounds["sentence_transformers"], strict=True))
    return [
        *_rows(["encoder", "texts/s, median", "veilstream is faster by"], rows),
        "",
        f"Engine {result['engine']}; rounds beside sentence-transformers: {spread}. "
        f"{result['tokens'] / result['texts']:.1f} tokens a text, {result['padding_share']:.1%} of the positions are padding. "
        f"Worst cosine error {result['worst_cosine_error']:.1e}. "
        f"Useful operations run at {result['share_of_gemm_median']:.0%} of torch's {result['gemm_dtype']} GEMM rate "
        f"({result['medians']['gemm']:.0f} GFLOP/s).",
        "",
        f"{result['callers']} tasks that ask for one text at a time get {result['front_to_offline']['ratio_median']:.0%} of the rate of "
        f"one call with all texts; the event loop's longest stall was {result['longest_stall_ms_median']:.1f} ms (median of the rounds: "
        f"{', '.join(f'{stall:.1f}' for stall in result['longest_stall_ms'])}).",
    ]


def _lookup(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['items']:,} items, {result['each']} queries a row; MRR@10 / recall@10.", ""]
    for model, kinds in result["models"].items():
        ways = list(next(iter(kinds.values())))
        rows = [[kind, *(f"{own[way]['mrr@10']:.3f} / {own[way]['recall@10']:.3f}" for way in ways)] for kind, own in kinds.items()]
        lines += [f"**{model}**", "", *_rows(["query", *ways], rows), ""]
    return lines


def _search(result: dict[str, Any]) -> list[str]:
    lines = []
    for size, part in result["sizes"].items():
        rows = []
        for name, own in part["candidates"].items():
            if "ms" not in own:
                rows.append([name, *[""] * 5, f"not made: about {own['not_built_would_take_s']:,.0f} s"])
                continue
            told = (
                f"{own['ms'] / result['users']:.2f}",
                f"{own['cpu_ms'] / result['users']:.2f}",
                f"{min(own['runs_ms']):,.0f} to {max(own['runs_ms']):,.0f}",
            )
            rest = [
                f"{own[key]:{form}}" if key in own else "" for key, form in (("recall", ".3f"), ("memory_mb", ",.0f"), ("build_s", ",.1f"))
            ]
            rows.append([name, *told, *rest])
        head = [
            f"{int(size):,} items",
            "ms a shopper",
            "processor ms",
            f"ms for {result['users']}, rounds",
            "recall@10",
            "memory more, MB",
            "made in, s",
        ]
        lines += [*_rows(head, rows), ""]
    rounds = len(next(iter(result["sizes"].values()))["candidates"]["veilstream, fp32 product"]["runs_ms"])
    return [*lines, f"Medians of {rounds} rounds that take turns.", "", "![search](results/search.png)"]


def _ranker(result: dict[str, Any]) -> list[str]:
    rows = [
        [name, f"{value:,.0f}", f"{min(own):,.0f} to {max(own):,.0f}"]
        for (name, value), own in zip(result["medians"].items(), result["runs"].values(), strict=True)
    ]
    rounds = len(next(iter(result["runs"].values())))
    return [
        *_rows(["an answer's part", "processor µs an answer, median", "rounds"], rows),
        "",
        f"{result['items']:,} items of {result['dimension']} dimensions, {result['shoppers']} shoppers at a time with {result['history']} "
        f"items of history and {result['candidates_mean']:.0f} candidates each; the forest has {result['trees']} trees of eight leaves. "
        f"{rounds} rounds that take turns.",
    ]


def _poison(result: dict[str, Any]) -> list[str]:
    before = result.get("before", {}).get("shown", {})
    who = list(next(iter(result["shown"].values())))
    head = ["attack: users x events of each", *(f"{name}, before" for name in who if before), *who]
    rows = []
    for attack, shares in result["shown"].items():
        earlier = before.get(attack, {})
        rows.append(
            [
                attack,
                *(f"{earlier[name]:.1%}" if name in earlier else "" for name in who if before),
                *(f"{shares[name]:.1%}" for name in who),
            ]
        )
    told = f"Share of {result['shoppers']:,} simulated shoppers who never touched the item and have it in their top ten."
    return [*_rows(head, rows), "", told]


def _scrub(result: dict[str, Any]) -> list[str]:
    tools = result["tools"]
    names = list(tools)

    def row(name: str, values: Sequence[str]) -> list[str]:
        return [name, *values]

    rows = [row(kind, [f"{tools[name]['kinds'][kind]['recall']:.3f}" for name in names]) for kind in next(iter(tools.values()))["kinds"]]
    rows += [
        row("**recall, all kinds**", [f"**{tools[name]['recall']:.4f}**" for name in names]),
        row("recall, kinds that were found before", [f"{tools[name]['recall_of_earlier_kinds']:.4f}" for name in names]),
        row("**precision**", [f"**{tools[name]['precision']:.4f}**" for name in names]),
        row("harmless texts touched", [f"{tools[name]['harmless_touched']:.2%}" for name in names]),
        row("real titles touched", [f"{tools[name]['titles_touched']:,} of {tools[name]['titles']:,}" for name in names]),
        row("made-up texts", [f"{tools[name]['texts']:,}" for name in names]),
        row("processor µs a title", [f"{min(tools[name]['us_a_title']):,.1f}" for name in names]),
    ]
    told = (
        "Of the made-up texts two of three hold something personal. The scrubber takes "
        f"{result['us_a_text']:,.0f} µs for one of them on average; the slowest, some of them repeated to 1,024 characters, "
        f"takes {result['slowest_ms']:.1f} ms."
    )
    return [*_rows(["recall by kind", *names], rows), "", told]


def _simulated(result: dict[str, Any]) -> list[str]:
    means = result["means"]
    rows = [
        [
            name,
            f"{own['purchases']:.3f}",
            f"{own['purchases_expected']:.3f}",
            f"{own['hours_to_ten_exposures']:.0f}",
            f"{own['reached_ten_exposures']:.0%}",
            f"{own['new_items_share_of_exposures']:.1%}",
            f"{own['kinds_in_a_list']:.1f}",
            f"{own['items_in_a_list']:.1f}",
        ]
        for name, own in means.items()
    ]
    head = [
        *(
            "arm",
            "purchases a session",
            "expected",
            "hours to a new item's tenth exposure",
            "new items that had ten",
            "their share of exposures",
        ),
        *("kinds in a list", "items in a list"),
    ]
    told = [
        [pair, *(_percent(metrics[metric]) for metric in ("purchases", "purchases_expected", "hours_to_ten_exposures", "kinds_in_a_list"))]
        for pair, metrics in result["differences"].items()
    ]
    compared = ["arm / arm, less 1", "purchases a session", "expected", "hours to the tenth exposure", "kinds in a list"]
    size = result["size"]
    return [
        *_rows(head, rows),
        "",
        *_rows(compared, told),
        "",
        f"{result['seeds']} shops of {size['items']} items and {size['shoppers']} shoppers (seven of ten see lists), {result['model']} "
        f"encoder, {size['warm_days']} days under the hand-set sum first, then {size['launch_days'] + size['horizon_days']} days an arm. "
        "In brackets 95% intervals over shops. Expected: what lists sell by the shoppers' own probabilities, in place of what they "
        f"happened to sell. Hours: what is not reached in {size['horizon_days']} days counts as {24 * size['horizon_days']}.",
    ]


def _percent(interval: dict[str, float]) -> str:
    return f"{interval['mean']:+.1%} [{interval['low']:+.1%}, {interval['high']:+.1%}]"


def _engines(result: dict[str, Any]) -> list[str]:
    names = sorted(result["medians"], key=result["medians"].__getitem__, reverse=True)
    rows = [[name, f"{result['medians'][name]:,.0f}", f"{result['worst_cosine_error'][name]:.1e}"] for name in names]
    return _rows(["engine", "texts/s, median", "worst cosine error"], rows)


def _pruning(result: dict[str, Any]) -> list[str]:
    rows = []
    for name, speeds in result["texts_per_second"].items():
        scores = [f"{_score(own['hr'])} / {_score(own['ndcg'])}" for own in result[name]]
        kept = min(own["hr"] / whole["hr"] for own, whole in zip(result[name], result["all six"], strict=True))
        rows.append([name, f"{statistics.median(speeds):,.0f}", *scores, f"{kept:.1%}"])
    cuts = [f"{own['cut']:.0%} cut, HR@10 / NDCG@10" for own in result["all six"]]
    return _rows(["layers", "texts/s, median", *cuts, "least share of HR@10 kept"], rows)


def _quality(result: dict[str, Any]) -> list[str]:
    rows = []
    for name, own in result["rankers"].items():
        before = own.get("validation")
        score = "" if before is None else f"{_score(before['hr'])} / {_score(before['ndcg'])}"
        less = "" if name.startswith("veilstream, encoder") else _range(own["hr_veilstream_less_this"], "+")
        rows.append([name, _range(own["hr"]), _range(own["ndcg"]), score, less])
    head = ["ranker", "HR@10", "NDCG@10", "at the 70% cut", "HR@10 of veilstream as it ships, less this"]
    note = f"{result['users']:,} shoppers at the 80% cut; in brackets 95% bootstrap intervals over shoppers."
    return [*_rows(head, rows), "", note, "", "![quality](results/quality.png)"]


def _quality_ranker(result: dict[str, Any]) -> list[str]:
    cuts, users = result["cuts"], result["users"]
    heads = [f"{part:.0%} cut, {metric}" for part in cuts.values() for metric in ("HR@10", "NDCG@10")]
    ours = "ranker, additive"
    lines = _rows(["ranker", *heads], [[name, *_beside(result["rankers"], name, ours, own=True)] for name in result["rankers"]["test"]])
    if "recall" in result:
        names = list(result["recall"]["test"])
        rows = [[f"`{name}`", *(f"{result['recall'][cut][name]:.3f}" for cut in cuts)] for name in names]
        rows[-1][0] = f"all of them, {result['candidates']['test']:.0f} candidates a shopper"
        lines += ["", *_rows(["source of candidates", *(f"recall, {part:.0%} cut" for part in cuts.values())], rows)]
    if "ablation" in result:
        rows = [[name, *_beside(result["ablation"], name, ours, own=False)] for name in result["ablation"]["test"] if name != ours]
        lines += ["", *_rows(["ranker without", *heads], rows)]
    told = " and ".join(f"{users[name]:,} at the {part:.0%} cut" for name, part in cuts.items())
    told += f". Only a part was measured: {result['partial']}" if "partial" in result else ""
    return [*lines, "", f"Shoppers: {told}. Differences are from `{ours}`; in brackets 95% bootstrap intervals of the paired difference."]


def _beside(entries: dict[str, Any], name: str, ours: str, *, own: bool) -> list[str]:
    """At each cut and for both metrics: the mean, and what it is less ours."""
    found = []
    for cut in entries:
        for metric in ("hr", "ndcg"):
            entry = entries[cut][name]
            less = "" if name == ours else _range(entry[f"{metric}_less_{ours}"], "+")
            found.append(" ".join(([_score(entry[metric]["mean"])] if own else []) + ([f"({less})" if own else less] if less else [])))
    return found


def _large_catalogues(result: dict[str, Any]) -> list[str]:
    rows = []
    for size, methods in result["sizes"].items():
        for name, own in methods.items():
            if "failed" in own:
                rows.append([f"{int(size):,}", name, f"failed: {own['failed']}", *[""] * 5])
                continue
            told = (own["processor_seconds"], own["memory_mb"], own["recall"], own["ndcg"], own["reached"])
            numbers = [f"{value:{form}}" for value, form in zip(told, (",.1f", ",.0f", ".3f", ".3f", ".3f"), strict=True)]
            rows.append([f"{int(size):,}", name, *numbers, f"{own['pairs']:,}"])
    head = ["items", "weights by", "processor s", "memory more, MB", "recall@20", "NDCG@10", "reached", "weights"]
    forms = {"file_mb": ",.1f", "write_s": ".2f", "read_s": ".2f", "rows_s": ".2f", "related_us": ",.0f", "sums_us": ",.0f"}
    forms |= dict.fromkeys(("recall", "recall_of_32", "recall_of_16"), ".3f")
    served = [
        [f"{int(size):,}", *(f"{own['local'][key]:{form}}" for key, form in forms.items())]
        for size, own in result["sizes"].items()
        if "file_mb" in own.get("local", {})
    ]
    heads = ["items", "file, MB", "written, s", "read, s", "rows found, s", "candidates, µs", "sums, µs", "recall@20", "of 32", "of 16"]
    return [*_rows(head, rows), "", *_rows(heads, served), "", "![large catalogues](results/large_catalogues.png)"]


def _range(interval: dict[str, float], sign: str = "") -> str:
    return f"{_score(interval['mean'], sign)} [{_score(interval['low'], sign)}, {_score(interval['high'], sign)}]"


def _score(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def _finetune(result: dict[str, Any]) -> list[str]:
    rows = [[name, f"{value:.1f}"] for name, value in result["medians"].items()]
    rounds = ", ".join(f"{a / b:.2f}" for a, b in zip(result["runs"]["veilstream"], result["runs"][result["peer"]], strict=True))
    return [
        *_rows(["fine-tuning", "pairs/s, median"], rows),
        "",
        f"Veilstream is **{result['to_peer']['ratio_median']:.2f} ×** as fast as {result['peer']} (rounds: {rounds}); both in fp32 "
        f"{result['to_peer_fp32']['ratio_median']:.2f} ×. Batches of {result['batch']} pairs, {result['threads']} threads.",
    ]


def _audit(result: dict[str, Any]) -> list[str]:
    held = ", ".join(f"{size / 1e6:.2f} MB for {int(count):,}" for count, size in result["bytes_held"].items())
    rows = [
        ["append a link in a stage, µs", f"{statistics.median(result['append_us']):.0f}"],
        [f"verify {result['links']:,} links, links/s", f"{result['links_per_second']:,.0f}"],
    ]
    return [*_rows(["audit, processor time of one thread", ""], rows), "", f"The verifier holds {held} links, in eight chains."]


TABLES = {
    "audit": _audit,
    "engines": _engines,
    "pruning": _pruning,
    "encoder": _encoder,
    "lookup": _lookup,
    "finetune": _finetune,
    "quality": _quality,
    "quality_ranker": _quality_ranker,
    "large_catalogues": _large_catalogues,
    "search": _search,
    "ranker": _ranker,
    "simulated": _simulated,
    "poison": _poison,
    "scrub": _scrub,
    "pipeline": _pipeline,
    "latency": _latency,
    "avro": _avro,
    "at_rest": _at_rest,
    "privacy": _privacy,
    "consent": _consent,
    "sources": _sources,
}


if __name__ == "__main__":
    write_tables()
