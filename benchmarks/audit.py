"""What a link of the audit costs, and how fast a topic of links is verified: ``make bench-audit``.

Appending is timed as a stage does it: one page for 500 records, each with a pseudonym and one detail; without the broker. Verifying is
timed over the records as they come from the broker, in one thread: a million links in eight chains. Times are processor time. Memory is
the most that Python held more than before.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Iterator

from nacl.signing import SigningKey

from benchmarks.harness import save
from streams.audit.chain import ChainId, Head, next_link
from streams.audit.trail import StageTrail
from streams.audit.verifier import Verifier
from streams.engine.records import BatchResult, MemoryRecord
from streams.engine.state import StatelessView
from streams.serde.codec import local_codecs
from streams.topics import PRIVACY_AUDIT, PRIVACY_ERASURE

RUNS, BATCH = 7, 500
LINKS, CHAINS = 1_000_000, 8
SAMPLE = 100_000
"""Links whose memory is measured, and a tenth of them: tracing makes everything slow."""
KEY = SigningKey(b"k" * 32)
CODEC = local_codecs().for_topic(PRIVACY_AUDIT)
SUBJECT = "k1." + "a" * 32


def append_us() -> float:
    """Microseconds a link."""
    trail = StageTrail("profile", KEY, CODEC)
    batch = [MemoryRecord(PRIVACY_ERASURE, 0, offset, 1_795_755_600_000, b"k", b"v") for offset in range(BATCH)]
    begin = time.process_time()
    page, result = trail.open(batch, StatelessView()), BatchResult()
    for record in batch:
        page.append(record, "erased", SUBJECT, {"request_id": "0123456789abcdef"})
    page.close(result)
    return (time.process_time() - begin) / BATCH * 1e6


def records(count: int) -> Iterator[MemoryRecord]:
    """Links of eight chains in turns."""
    heads = [Head()] * CHAINS
    for offset in range(count):
        name = ChainId("profile", f"{PRIVACY_ERASURE}/{offset % CHAINS}@0")
        details = {"request_id": "0123456789abcdef"}
        link = next_link(heads[offset % CHAINS], name, KEY, action="erased", subject=SUBJECT, details=details, at_ms=offset)
        heads[offset % CHAINS] = link.head
        yield MemoryRecord(PRIVACY_AUDIT, 0, offset, 0, b"profile", CODEC.encode(link.record))


def links_per_second(count: int) -> float:
    """In parts, so that making the links is not counted, and they need not be held."""
    verifier = Verifier(CODEC, {"profile": [KEY.verify_key]})
    part: list[MemoryRecord] = []
    seconds = 0.0
    for record in records(count):
        part.append(record)
        if len(part) == 10_000 or record.offset == count - 1:
            begin = time.process_time()
            for one in part:
                verifier.look_at_anchors(one)
                verifier.take(one)
            seconds += time.process_time() - begin
            part = []
    verifier.finish()
    assert verifier.is_right and verifier.links == count
    return count / seconds


def most_bytes(count: int) -> int:
    """What a verifier holds at most while it goes through so many links."""
    verifier = Verifier(CODEC, {"profile": [KEY.verify_key]})
    tracemalloc.start()
    try:
        for record in records(count):
            verifier.take(record)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    appended = [append_us() for _ in range(RUNS)]
    rate = links_per_second(LINKS)
    print(f"append {statistics.median(appended):.1f} µs, verify {rate:,.0f} links/s")
    memory = {str(count): most_bytes(count) for count in (SAMPLE // 10, SAMPLE)}
    save("audit", {"append_us": appended, "links": LINKS, "links_per_second": rate, "bytes_held": memory})


if __name__ == "__main__":
    main()
