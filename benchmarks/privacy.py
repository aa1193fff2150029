"""What privacy costs, all of it at once, measured by its switches. ``make bench-privacy``.

``all`` is a deployment as shipped: k-anonymity, every kind of personal data looked for in queries, states sealed, and every shopper
asked before she is profiled. ``bare`` has all of that off: ``VEILSTREAM_K=1``, ``VEILSTREAM_SCRUB_OFF`` with every kind, no state key, and
shoppers who are not asked. Pseudonyms, sealed ids and the audit have no switch; both have them.

Every shopper agrees, so that both have the same to do. Runs are interleaved.
"""

from __future__ import annotations

import os
import time

from benchmarks.harness import save
from benchmarks.pipeline import HOUR_MS, Records
from benchmarks.stage_rounds import PARTS, Candidate, measure
from streams import topics
from streams.privacy.kinds import KINDS
from streams.serde import local_codecs
from streams.simulator.shop import Shop

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
BARE = {"VEILSTREAM_K": "1", "VEILSTREAM_SCRUB_OFF": ",".join(KINDS), "VEILSTREAM_CONSENT_DEFAULT": "all"}


def consents(shop: Shop) -> Records:
    """What every shopper answered, before her first event."""
    codec = local_codecs().for_topic(topics.CONSENT_UPDATES)
    then = time.time_ns() // 1_000_000 - 400 * HOUR_MS
    return [(topics.CONSENT_UPDATES, one["user_id"].encode(), codec.encode(one), []) for one in shop.consents(then)]


def main() -> None:
    candidates = {"all": Candidate({"VEILSTREAM_CONSENT_DEFAULT": "none"}, consents), "bare": Candidate(BARE, seals=False)}
    events, parts = measure(candidates, RUNS, "all", "bare")
    for part in PARTS:
        print(f"{part}: {parts[part]['ratio_median']:.2f} of the throughput with privacy off where it can be")
    print(f"wrote {save('privacy', {'events': events, 'unit': 'events/s', **parts})}")


if __name__ == "__main__":
    main()
