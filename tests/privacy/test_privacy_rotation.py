"""What a reader of all clean topics, who knows everything but the keys, finds of which new pseudonym was which old one: nothing that joins
them. What tastes say is measured, not promised."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from streams.clock import FixedClock
from streams.engine.records import MemoryRecord, OutputRecord
from streams.privacy.pseudonym import Pseudonymizer
from streams.stages.feedback.stage import FeedbackStage
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_CLEAN, CONSENT_DECISIONS, PRIVACY_MOVES, RECOMMENDATIONS, TRAINING_PAIRS
from tests.support import feedback_harness
from tests.support.at_once import at_once
from tests.support.ingest_harness import CODECS, NOW, make_stage, record, run
from tests.support.profile_harness import TITLES, ProfileHarness
from tests.support.rotations import NEW, OLD, READER, SEALER

SHOPPERS = 60
PARTITIONS = 4
MINUTE = 60_000
AROUND = 8
"""Records before and after; one event causes about as many."""


class Seen(NamedTuple):
    """A record as it lies in a topic; ``at`` counts all records in the order of writing."""

    at: int
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    record_id: bytes

    def fields(self) -> dict[str, Any]:
        return {} if self.value is None else dict(CODECS.for_topic(self.topic).decode(self.value))


class Shop:
    """The stages over what would be topics, on one machine: every record is seen."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.profile = ProfileHarness()
        self.profile.moves = READER
        self.profile.restart()
        self.feedback: FeedbackStage = feedback_harness.make_stage(FixedClock(NOW), moves=READER)
        self.ledger = feedback_harness.State()
        self._offsets: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.raw = 0

    def send(self, stage: IngestStage, events: list[dict[str, Any]]) -> None:
        for event in events:
            found = run(stage, [record(event, offset=self.raw)])
            self.raw += 1
            self._pass_on(found.result.outputs)

    def _pass_on(self, outputs: list[OutputRecord]) -> None:
        for output in outputs:
            key = output.partition_key or output.key or b""
            partition = output.partition if output.partition is not None else (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
            self.seen.append(Seen(len(self.seen), output.topic, partition, output.key, output.value, output.record_id))
            offset = self._offsets[output.topic, partition]
            self._offsets[output.topic, partition] += 1
            back = MemoryRecord(output.topic, partition, offset, NOW, output.key, output.value)
            if output.topic in (BEHAVIOUR_CLEAN, PRIVACY_MOVES):
                result = at_once(self.profile.stage([back], self.profile.state))
                self.profile.state.write(result.state)
                self._pass_on(result.outputs)
            if output.topic in (BEHAVIOUR_CLEAN, PRIVACY_MOVES, RECOMMENDATIONS):
                for result in feedback_harness.feed(self.feedback, self.ledger, [[back]]):
                    self._pass_on(result.outputs)


def played() -> tuple[Shop, dict[str, str]]:
    """A shop before and in a rotation, and who was who."""
    rng, shop, names = Random(7), Shop(), list(TITLES)
    people = [f"customer-{n:03}" for n in range(SHOPPERS)]

    def some(name: str, minute: int) -> list[dict[str, Any]]:
        found = []
        for who in rng.sample(people, len(people)):
            for kind in ("view", "cart", "purchase", "click"):
                event = {"event_type": kind, "user_id": who, "session_id": f"session of {who}", "event_id": f"{name}-{who}-{kind}"}
                what = {"item_id": rng.choice(names), "price": 9.5, "region": "DE"}
                found.append(event | what | {"occurred_at": NOW - (600 - minute) * MINUTE, "recommendation_id": "ab" * 16})
        return found

    shop.send(make_stage(hashes=OLD), some("old", 0))
    shop.send(make_stage(hashes=NEW, former=OLD, moves=SEALER), some("new", 60))
    shop.send(make_stage(hashes=NEW, former=OLD, moves=SEALER), some("later", 200))  # another worker: all are announced again
    return shop, {NEW.pseudonym(who): OLD.pseudonym(who) for who in people}


# --- attacks: each gives pairs of a new pseudonym and an old one


def names_in(seen: Seen, key: Pseudonymizer) -> set[str]:
    everything = b"\n".join([seen.key or b"", seen.value or b"", seen.record_id])
    return {name.decode() for name in re.findall(key.key_id.encode() + rb"\.[a-z2-7]{32}", everything)}


def both_in_one_record(records: list[Seen]) -> Iterator[tuple[str, str]]:
    for seen in records:
        yield from ((new, old) for new in names_in(seen, NEW) for old in names_in(seen, OLD))


def one_value_in_both(records: list[Seen]) -> Iterator[tuple[str, str]]:
    """Any id, hash or box that is in records of one old and one new pseudonym only."""
    holders: defaultdict[bytes, set[str]] = defaultdict(set)
    for seen in records:
        owner = next(iter(names_in(seen, NEW) | names_in(seen, OLD)), None)
        if owner is None:
            continue
        for text in strings_of(seen.fields(), seen.record_id):
            if len(text) >= 8:
                holders[text].add(owner)
    for owners in holders.values():
        new, old = [o for o in owners if o.startswith("k2.")], [o for o in owners if o.startswith("k1.")]
        if len(new) == len(old) == 1:
            yield new[0], old[0]


def strings_of(fields: object, *more: bytes) -> Iterator[bytes]:
    yield from more
    if isinstance(fields, dict):
        for name, value in fields.items():
            if name not in ("items", "history", "reasons", "query"):  # of taste, see below
                yield from strings_of(value)
    elif isinstance(fields, list):
        for value in fields:
            yield from strings_of(value)
    elif isinstance(fields, bytes):
        yield fields
    elif isinstance(fields, str):
        yield fields.encode()


def neighbours(records: list[Seen]) -> Iterator[tuple[str, str]]:
    """The one old pseudonym that is written of around the moment at which a new one first shows up: what moves her is written then."""
    begin = min(seen.at for seen in records if names_in(seen, NEW))
    first: dict[str, int] = {}
    of_old: defaultdict[int, set[str]] = defaultdict(set)
    for seen in records:
        for name in names_in(seen, NEW):
            first.setdefault(name, seen.at)
        if seen.at >= begin:
            of_old[seen.at] |= names_in(seen, OLD)
    for new, at in first.items():
        around = set[str]().union(*(of_old[at + step] for step in range(-AROUND, AROUND + 1)))
        if len(around) == 1:
            yield new, around.pop()


def lengths(records: list[Seen]) -> Iterator[tuple[str, str]]:
    """What is handed over is as long as what there was to hand over."""
    of_old: defaultdict[str, int] = defaultdict(int)
    for seen in records:
        for name in names_in(seen, OLD):
            of_old[name] += len(seen.value or b"")
    sizes = {len(seen.value or b"") for seen in records if seen.topic == PRIVACY_MOVES}
    ranked = sorted(of_old, key=lambda name: of_old[name])
    for size in sizes:
        same = [seen for seen in records if seen.topic == PRIVACY_MOVES and len(seen.value or b"") == size]
        if len(same) == 1:
            yield next(iter(names_in(records[same[0].at + 1], NEW)), ""), ranked[-1]


def test_nothing_joins_an_old_pseudonym_and_a_new_one() -> None:
    shop, truth = played()
    records = [seen for seen in shop.seen if seen.topic != CONSENT_DECISIONS]
    assert {name for seen in records for name in names_in(seen, NEW)} == set(truth)
    assert {name for seen in records for name in names_in(seen, OLD)} == set(truth.values())
    for attack in (both_in_one_record, one_value_in_both, neighbours, lengths):
        right = {new for new, old in attack(records) if truth.get(new) == old}
        assert len(right) == 0, f"{attack.__name__}: {len(right)} of {SHOPPERS}"
    moved = [key for key in shop.profile.state if key.startswith(b"k2.")]
    assert len(moved) == SHOPPERS and not any(b"k1." in shop.profile.state[key] for key in moved), "and all of them did move"


def test_the_attacks_see_what_they_should() -> None:
    """Each finds a leak of its kind that is put there."""
    _, truth = played()
    new, old = next(iter(truth.items()))
    leaks = {
        both_in_one_record: [Seen(0, BEHAVIOUR_CLEAN, 0, old.encode(), new.encode(), b"")],
        one_value_in_both: [of(name, {"event_id": "the same id"}) for name in (old, new)],
        neighbours: [
            Seen(10**6, BEHAVIOUR_CLEAN, 0, new.encode(), None, b""),
            Seen(10**6 + 1, BEHAVIOUR_CLEAN, 0, old.encode(), None, b""),
        ],
    }
    for attack, records in leaks.items():
        assert (new, old) in set(attack(records)), attack.__name__


def of(name: str, fields: dict[str, Any]) -> Seen:
    class Made(Seen):
        def fields(self) -> dict[str, Any]:
            return fields

    return Made(0, BEHAVIOUR_CLEAN, 0, name.encode(), None, b"")


def test_what_tastes_say() -> None:
    """No reason and no pair names what was done under the old pseudonym. That the lists are alike is what a history is for: how many are
    known by that stands in docs/keys.md."""
    shop, truth = played()
    did: defaultdict[str, set[str]] = defaultdict(set)
    named: defaultdict[str, set[str]] = defaultdict(set)
    shown: defaultdict[str, set[str]] = defaultdict(set)
    for seen in shop.seen:
        fields = seen.fields() if seen.topic in (BEHAVIOUR_CLEAN, RECOMMENDATIONS, TRAINING_PAIRS) else {}
        name = str(fields.get("pseudonym", ""))
        if seen.topic == BEHAVIOUR_CLEAN and fields.get("item_id"):
            did[name].add(fields["item_id"])
        elif seen.topic == TRAINING_PAIRS:
            named[name] |= {past["ref"] for past in fields["history"] if past["kind"] == "item"}
        for item in fields.get("items", []) if seen.topic == RECOMMENDATIONS else []:
            shown[name].add(item["item_id"])
            named[name] |= {part["item_id"] for part in item["reasons"] if part["kind"] == "item"} - {None}
    assert all(named[new] <= did[new] for new in truth), "nothing is named but what was done under this pseudonym"
    guesses = {new: max(truth.values(), key=lambda old: len(shown[new] & shown[old]) / len(shown[new] | shown[old])) for new in truth}
    right = sum(guesses[new] == old for new, old in truth.items())
    print(f"known by the lists alone: {right} of {SHOPPERS}")
    assert right < SHOPPERS // 3, "docs/keys.md tells less than it is"
