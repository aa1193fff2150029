"""Whatever the order of reading, the batches, repeats and crashes: feedback and training pairs are those that the rule, applied to
everything at once, says."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import topics
from streams.engine.records import MemoryRecord
from streams.stages.feedback import settlement as settle
from streams.stages.feedback.rules import HISTORY_EVENTS, OUTCOME_OF_EVENT, OUTCOMES, POSITIVE
from tests.support.at_once import at_once
from tests.support.feedback_harness import ANNA, BEN, CODECS, MINUTE, RULES, State, event, identity, make_stage, recommendation, the_end

WINDOW, LATENESS = RULES.window_ms // MINUTE, RULES.lateness_ms // MINUTE


class Event(NamedTuple):
    offset: int
    user: str
    kind: str
    item: str
    minute: int
    named: str | None


class Recommended(NamedTuple):
    """A recommendation."""

    offset: int
    user: str
    source_offset: int
    minute: int
    items: list[str]

    @property
    def identity(self) -> str:
        return identity("recommendation", self.offset)


class Journal(NamedTuple):
    events: list[Event]
    recommended: list[Recommended]


@st.composite
def journals(draw: st.DrawFn) -> Journal:
    """Event times go on, fast or slowly, and are out of order; some events cause recommendations; some name one of them."""
    pace = draw(st.sampled_from([0, 1, 5, 20]))
    events, recommended = [], []
    kinds = ["impression", "click", "cart", "purchase", "dismiss", "view", "search", "return"]
    for offset in range(draw(st.integers(1, 40))):
        user, item = draw(st.sampled_from([ANNA, BEN])), draw(st.sampled_from("abc"))
        minute = 100 + offset * pace + draw(st.sampled_from([0, 0, 0, 1, -1, -3, 10, -25, 45]))
        named = draw(st.sampled_from([None, None, None, *(t.identity for t in recommended[-3:]), identity("another")]))
        events.append(Event(offset, user, draw(st.sampled_from(kinds)), item, minute, named))
        if draw(st.integers(0, 3)) == 0:
            items = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
            recommended.append(Recommended(len(recommended), user, offset, minute, items))
    return Journal(events, recommended)


def expected(journal: Journal) -> tuple[dict[str, tuple[Any, ...]], dict[str, tuple[Any, ...]]]:
    """The rule, over both topics as a whole: feedback and training pairs by id."""
    latest = 0
    met = {}
    for e in journal.events:
        met[e.offset] = latest
        latest = max(latest, e.minute)

    def may_claim(r: Recommended, e: Event) -> bool:
        return (
            e.user == r.user
            and e.kind in OUTCOME_OF_EVENT
            and e.item in r.items
            and e.offset > r.source_offset
            and e.minute <= r.minute + WINDOW
            and met[e.offset] < r.minute + WINDOW + LATENESS
            and (e.named == r.identity if e.named else e.minute >= r.minute - LATENESS)
        )

    owner = {
        e.offset: max((r for r in journal.recommended if may_claim(r, e)), key=lambda r: r.source_offset, default=None)
        for e in journal.events
    }

    def history(user: str, before: int) -> list[tuple[str, str]]:
        past = [e for e in journal.events if e.user == user and e.offset < before and e.kind in HISTORY_EVENTS]
        return [("words" if e.kind == "search" else e.item, e.kind) for e in past[-RULES.history_size :]]

    feedback: dict[str, tuple[Any, ...]] = {}
    pairs: dict[str, tuple[Any, ...]] = {}
    for r in journal.recommended:
        for rank, item in enumerate(r.items):
            mine = [e for e in journal.events if owner[e.offset] == r and e.item == item]
            outcome = min((OUTCOME_OF_EVENT[e.kind] for e in mine), key=OUTCOMES.index, default="ignored")
            feedback[f"{r.identity}/{item}"] = (outcome, any(e.kind == "impression" for e in mine), rank)
            if outcome != "ignored":
                pairs[f"{r.identity}/{item}"] = (outcome, history(r.user, r.source_offset + 1))
    for e in journal.events:
        if e.kind in POSITIVE and owner[e.offset] is None:
            pairs[identity("event", e.offset)] = (e.kind, history(e.user, e.offset))
    return feedback, pairs


class Run:
    """A stage between two logs, with a broker that keeps what was written and a table that survives crashes."""

    def __init__(self, journal: Journal, rng: random.Random) -> None:
        recommended = [recommendation(t.offset, t.user, t.items, t.minute, t.source_offset) for t in journal.recommended]
        self.logs: dict[bool, list[MemoryRecord]] = {True: [_record(e) for e in journal.events], False: recommended}
        self.next = {True: 0, False: 0}
        self.rng = rng
        self.written: dict[tuple[str, bytes], bytes] = {}
        self.state = State()
        self.stage = make_stage()

    def go(self) -> None:
        while any(self.next[of_events] < len(log) for of_events, log in self.logs.items()):
            of_events = self.rng.random() < 0.5
            if self.next[of_events] >= len(self.logs[of_events]):
                of_events = not of_events
            first = self.next[of_events]
            batch = self.logs[of_events][first : first + self.rng.randint(1, 12)]
            fate = self.rng.choice(["good", "good", "good", "twice", "halved", "crash", "crash later"])
            if fate == "crash" and self.rng.random() < 0.7:
                self.apply(batch, share=self.rng.random())
                self.take_over()
            elif fate == "crash later":
                self.apply(batch)
                self.take_over()  # before the commit: the batch comes again, cut differently
            else:
                if fate in ("twice", "halved"):
                    at_once(self.stage(batch, self.state))
                middle = len(batch) // 2 if fate == "halved" else 0
                for part in (batch[:middle], batch[middle:]):
                    if part:
                        self.apply(part)
                self.next[of_events] = first + len(batch)
        for batch in the_end():
            self.apply(batch)

    def apply(self, batch: list[MemoryRecord], share: float = 1.0) -> None:
        """All outputs are written, of the state only a share."""
        result = at_once(self.stage(batch, self.state))
        ids = [(o.topic, o.record_id) for o in result.outputs]
        assert len(set(ids)) == len(ids)
        for output in result.outputs:
            assert output.value is not None
            known = self.written.setdefault((output.topic, output.record_id), output.value)
            assert known == output.value, "what is said again is the same"
        for key, value in result.state.items():
            if share == 1.0 or self.rng.random() < share:
                assert value is not None
                self.state.values[key] = value

    def take_over(self) -> None:
        self.stage = make_stage()
        at_once(self.stage.on_assigned(0, list(self.state.values.items())))

    def said(self, topic: str) -> list[dict[str, Any]]:
        values = [CODECS.for_topic(topic).decode(value) for (of, _), value in self.written.items() if of == topic]
        return [value for value in values if value["pseudonym"] in (ANNA, BEN)]


def _record(e: Event) -> MemoryRecord:
    item, query = (None, "words") if e.kind == "search" else (e.item, None)
    return event(e.offset, e.user, e.kind, item, e.minute, query=query, recommendation_id=e.named)


@settings(max_examples=200, deadline=None)
@given(journals(), st.integers(0, 2**32))
@pytest.mark.slow
def test_the_rule_holds_whatever_the_order_of_reading_and_whatever_fails(journal: Journal, seed: int) -> None:
    run = Run(journal, random.Random(seed))
    run.go()
    feedback, pairs = expected(journal)
    said = {f"{f['recommendation_id']}/{f['item_id']}": (f["outcome"], f["shown"], f["rank"]) for f in run.said(topics.FEEDBACK)}
    assert said == feedback
    names = {p.identity: p for p in journal.recommended}
    learnt = {}
    for pair in run.said(topics.TRAINING_PAIRS):
        history = [(h["ref"], h["event_type"]) for h in pair["history"]]
        if pair["recommendation_id"] is not None:
            assert pair["recommendation_id"] in names
            learnt[f"{pair['recommendation_id']}/{pair['item_id']}"] = (pair["outcome"], history)
        else:
            event_id = next(
                i for e in journal.events if (i := identity("event", e.offset)) and pair["pair_id"] == settle.identity(e.user, i)
            )
            learnt[event_id] = (pair["outcome"], history)
    assert learnt == pairs
