"""``behaviour.clean`` to ``recommendations`` and what is counted: one decode, one pass over the profiles, one matrix product."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from streams.audit.trail import NoTrail, Trail
from streams.engine.ports import DeadLetters, FloatArray, ModelProvider, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import Reason, RecordError
from streams.models.hotswap.serving_model import Routing, ServingModel
from streams.privacy.moves import Announcement, MovesReader
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import Ranking, most_requests, rank
from streams.ranking.request import Entry, Ranked, Request
from streams.ranking.rules import CODES, SEARCH, ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.serde.flags import UNPROFILED
from streams.serde.records import CONSENT, ERASE, IDENTIFY, MOVE, CleanEvent, FeatureLog, ProfileLink, has_shopper
from streams.stages.profile.expiry import last_active_ms
from streams.stages.profile.feature_log import board_positions, to_log
from streams.stages.profile.history import recently_recommended
from streams.stages.profile.links import join
from streams.stages.profile.moves import ProfileMove, unnamed
from streams.stages.profile.moving import arrived
from streams.stages.profile.popularity_counter import PopularityCounter
from streams.stages.profile.profile import IssuedRecommendation, Profile, dump_profile, load_profile
from streams.stages.profile.recommendation import NO_THRESHOLD, answer_id, make, remember
from streams.stages.profile.recommendation_writer import RecommendationWriter
from streams.stages.profile.showing import shown_of
from streams.stages.profile.together_counter import TogetherCounter, is_profile, state_key
from streams.stages.profile.triggers import Trigger, Triggered, by_model, find_triggers
from streams.stages.profile.withdrawal import dump_erased_until, erased_until_key, is_held_back, load_erased_until
from streams.stages.sealed_moves import SealedMoves
from streams.topics import (
    BEHAVIOUR_CLEAN,
    ITEMS_POPULARITY,
    ITEMS_TOGETHER,
    PRIVACY_MOVES,
    PROFILE_LINKS,
    RANKING_FEATURES,
    RECOMMENDATIONS,
)

__all__ = ["ProfileRules", "ProfileStage"]

_FIELDS = (
    "event_id",
    "pseudonym",
    "sealed_id",
    "event_type",
    "occurred_at",
    "item_id",
    "query",
    "linked_to",
    "flags",
    "refused",
    "request_id",
    "move",
)
_OF_THE_SHOPPER = (IDENTIFY, CONSENT, ERASE, MOVE)
"""Types of events that say something of the shopper, and nothing of an item or a search."""
_EVENT_ID = re.compile(r"[0-9a-f]{32}")


class ProfileStage:
    """The stage's BatchHandler.

    - The runtime changes ``models`` and ``board`` between batches. Recommendations are a function of the records, the state, and
      the content of these two.
    - A batch uses the models that serve when it begins. All vectors of a shopper are of one model.
    - After the query texts nothing is awaited. So a batch sees one catalogue.
    - ``rules`` decide what profiles hold, whatever model serves. A model's own rules decide how it scores.
    """

    def __init__(
        self,
        *,
        codecs: TopicCodecs,
        models: ModelProvider[Routing],
        popularity: PopularityTable,
        together: TogetherTable,
        dead_letters: DeadLetters,
        rules: ProfileRules,
        trail: Trail | None = None,
        moves: MovesReader | None = None,
    ) -> None:
        """Without ``trail`` nothing is appended to the audit. ``moves``: what this stage has of ``moves.key``."""
        self._moves = SealedMoves("profile", ProfileMove, codecs, moves or MovesReader(), dead_letters)
        self.trail = trail or NoTrail()
        self._events = codecs.reading(BEHAVIOUR_CLEAN, _FIELDS)
        self._writer = RecommendationWriter(codecs.for_topic(RECOMMENDATIONS))
        self._logs = codecs.for_topic(RANKING_FEATURES)
        self._links = codecs.for_topic(PROFILE_LINKS)
        self._models = models
        self._popularity_table = popularity
        self._together = together
        self._pairs = TogetherCounter(codecs.for_topic(ITEMS_TOGETHER), rules.together)
        self._popularity = PopularityCounter(codecs.for_topic(ITEMS_POPULARITY), popularity, rules.popularity_half_life_ms)
        self._dead_letters = dead_letters
        self._rules = rules
        self._newest_ms: dict[int, int] = {}
        """By partition, the greatest event time."""

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Raises what the encoder raises, and ConfigurationError for a state that another version wrote."""
        if batch[0].topic.endswith(PROFILE_LINKS):
            return self._join(batch, state)  # nothing is counted: what is, is counted by offsets of the events
        if batch[0].topic.endswith(PRIVACY_MOVES):
            return arrived(batch, state, self._moves, self._rules)
        partition = batch[0].partition
        result = BatchResult()
        moves: dict[int, Announcement] = {}
        events = self._accept(batch, result, moves)
        # Decisions and moves have the time of today, also among the events of a year that is published again.
        times = (event["occurred_at"] for _, event in events if event["event_type"] not in _OF_THE_SHOPPER)
        self._newest_ms[partition] = max(self._newest_ms.get(partition, 0), *times, 0)
        keys = list(dict.fromkeys(event["pseudonym"] for _, event in events if has_shopper(event)))
        purchased = list(dict.fromkeys(event["item_id"] for _, event in events if event["event_type"] == "purchase" and event["item_id"]))
        erased_key = erased_until_key(partition)
        stored = dict(state.get_many([erased_key, *(key.encode() for key in keys), *map(state_key, purchased)]))
        erased_until = load_erased_until(stored.pop(erased_key, None))
        profiles = {key: Profile(applied_offset=erased_until) for key in keys}
        profiles.update((key.decode(), load_profile(data)) for key, data in stored.items() if is_profile(key))
        tally = self._popularity.begin(partition, batch[0].offset)
        pairs = self._pairs.begin(purchased, stored)
        self._together.refresh()

        triggered = find_triggers(events, profiles, tally, pairs, self._rules, moves)
        with self._models.use() as routing:
            parts = [(model, part, await model.queries.lookup(part.queries())) for model, part in by_model(routing, triggered)]
            issued, logs = [*triggered.repeats], list[FeatureLog]()
            for model, part, found in parts:
                model.matrix.take_fitted()
                issued += self._recommend(model, part, model.queries.transformed(found, model.matrix), logs, model.rules)
            if triggered.unprofiled:
                for model, part in by_model(routing, Triggered(rounds=[triggered.unprofiled])):
                    issued += self._recommend(model, part, {}, logs, replace(model.rules, threshold=NO_THRESHOLD))
            catalogue = routing.stable.matrix.rows

        result.shown = shown_of([made for made, _ in issued[len(triggered.repeats) :]], triggered)
        issued.sort(key=lambda pair: pair[0].offset)
        result.outputs += [self._output(recommendation, event, partition) for recommendation, event in issued]
        result.outputs += [self._log(log, partition) for log in logs]
        result.outputs += map(self._link, triggered.links)
        result.outputs += map(self._moves.output, triggered.moves)
        changed, published = self._pairs.end(pairs, partition)
        # The pairs first: of a state that is only partly written, a beginning is there. A purchase that is in a profile is then in the
        # pairs too, and one that is only in the pairs is known by its offset. Whoever is erased last, and before them up to where: should
        # the batch come again, who is not in the table is then either new to it, or known to be erased.
        result.state = {**changed, **{key.encode(): dump_profile(profile) for key, profile in triggered.changed.items()}}
        if triggered.erased:
            result.state[erased_key] = dump_erased_until(triggered.erased_until)
            result.state.update((pseudonym.encode(), None) for pseudonym in triggered.erased.difference(triggered.changed))
        result.erased = {pseudonym.encode() for pseudonym in triggered.emptied}
        result.outputs += self._popularity.end(tally, batch[-1].offset)
        removals = self._popularity.removals(tally, catalogue, self._rules.unknown_items)
        result.outputs += removals
        if removals:
            result.dropped["unknown_item"] = len(removals)
        if triggered.held_back:
            result.dropped[Reason.NO_CONSENT.value] = triggered.held_back
        result.outputs += published
        if triggered.orders:
            records = {record.offset: record for record in batch}
            page = self.trail.open(batch, state)
            for order in triggered.orders:
                page.append(records[order.offset], order.action, order.pseudonym, order.details)
            page.close(result)
        return result

    def expired(self, partition: int, items: Mapping[bytes, bytes]) -> list[bytes] | None:
        """Profiles of shoppers who did nothing for so long, compared with the newest event that this worker has seen of the partition; None
        while it has seen none."""
        newest_ms = self._newest_ms.get(partition, 0)
        if newest_ms <= 0:
            return None
        before_ms = newest_ms - self._rules.max_age_ms
        last = {key: last_active_ms(load_profile(data)) for key, data in items.items() if is_profile(key)}
        return [key for key, at_ms in last.items() if at_ms is not None and at_ms < before_ms]

    async def warm_up(self) -> None:
        """Prepare the catalogue's vectors, and rank once: the first shopper need not wait for it."""
        with self._models.use() as routing:
            for model in (routing.stable, routing.canary):
                if model is not None and model.matrix.ids:
                    one = Request([model.matrix.ids[0]], [Entry(1.0, 0, CODES["view"])], [], None, [], 0)
                    rank([one], model.matrix, self._popularity_table, {}, model.rules, self._together, model.ranker)

    def _accept(self, batch: Sequence[SourceRecord], result: BatchResult, moves: dict[int, Announcement]) -> list[tuple[int, CleanEvent]]:
        """The events that concern this stage, with their offsets. Those that move somebody get her old pseudonym, and ``moves`` what they
        say."""
        accepted = []
        decode = self._events.decode
        for record in batch:
            try:
                event = cast(CleanEvent, decode(record.value, record.headers))
                check(record.key, event)
                if event["event_type"] == MOVE:
                    said = self._moves.announcement(event["move"], result)
                    if said is None:
                        continue
                    moves[record.offset] = said
                    event = cast(CleanEvent, {**event, "pseudonym": said.old})
            except RecordError as error:
                self._refuse(record, error, result)
                continue
            if event["event_type"] in _OF_THE_SHOPPER or self._rules.concerns(CODES[event["event_type"]]):
                accepted.append((record.offset, event))
        return accepted

    def _recommend(
        self,
        model: ServingModel,
        triggered: Triggered,
        vectors: dict[str, FloatArray],
        logs: list[FeatureLog],
        rules: ProfileRules,
    ) -> list[tuple[IssuedRecommendation, CleanEvent]]:
        """Recommendations with their events. What is to be logged of candidates goes into ``logs``."""
        matrix = model.matrix
        result = []
        looked: list[tuple[Trigger, list[str], Ranked, IssuedRecommendation | None]] = []
        for rounds in triggered.groups(most_requests(matrix)):
            requests = [trigger.request for triggers in rounds for trigger in triggers]
            # Items of an earlier answer in this batch are left out of the same shopper's later answers.
            excluded = [
                len(_excluded(trigger, rules)) + number * rules.top_k for number, triggers in enumerate(rounds) for trigger in triggers
            ]
            ranking = Ranking(
                requests, matrix, self._popularity_table, vectors, rules, self._together, model.ranker, most_excluded=excluded
            )
            first = 0
            for triggers in rounds:
                closed = [_excluded(trigger, rules) for trigger in triggers]
                answers = ranking.answer(first, closed)
                first += len(triggers)
                for trigger, ranked, own in zip(triggers, answers, closed, strict=True):
                    issued = None
                    if ranked.items and trigger.policy != "none":
                        hidden = unnamed(trigger.profile, trigger.event["occurred_at"])
                        what = (trigger.event, trigger.offset, trigger.policy, ranked)
                        issued = make(*what, model_version=model.version, rules=rules, unnamed=hidden)
                        remember(trigger.profile, issued, trigger.event["occurred_at"], rules)
                        result.append((issued, trigger.event))
                    if trigger.is_logged:
                        looked.append((trigger, own, ranked, issued))
        boards = board_positions(model, self._popularity_table, self._together) if looked else []
        for trigger, own, ranked, issued in looked:
            if ranked.looked_at is not None:
                log_of = (trigger.event, trigger.offset, trigger.policy, ranked.looked_at)
                logs.append(to_log(*log_of, matrix.ids, own, issued, model.version, boards))
        return result

    def _join(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Links to the profiles of their users."""
        result = BatchResult()
        links: list[tuple[SourceRecord, ProfileLink]] = []
        for record in batch:
            try:
                link = cast(ProfileLink, self._links.decode(record.value, record.headers))
                if record.key != link["pseudonym"].encode():
                    raise RecordError(Reason.KEY_MISMATCH, "the message key must be the pseudonym")
                links.append((record, link))
            except RecordError as error:
                self._refuse(record, error, result)
        stored = state.get_many(list(dict.fromkeys(link["pseudonym"].encode() for _, link in links)))
        profiles = {key.decode(): load_profile(data) for key, data in stored.items()}
        changed: dict[str, Profile] = {}
        for record, link in links:
            profile = profiles.setdefault(link["pseudonym"], Profile())
            if is_held_back(profile):
                result.dropped[Reason.NO_CONSENT.value] = result.dropped.get(Reason.NO_CONSENT.value, 0) + 1
                continue
            try:
                if join(profile, link, self._rules):
                    changed[link["pseudonym"]] = profile
            except RecordError as error:
                self._refuse(record, error, result)
        result.state = {key.encode(): dump_profile(profile) for key, profile in changed.items()}
        return result

    def _refuse(self, record: SourceRecord, error: RecordError, result: BatchResult) -> None:
        result.outputs.append(self._dead_letters.build(record, error))
        result.rejected += 1

    def _link(self, link: ProfileLink) -> OutputRecord:
        """To the partition of the user."""
        return OutputRecord(PROFILE_LINKS, link["pseudonym"].encode(), self._links.encode(link), bytes.fromhex(link["link_id"]))

    def _log(self, log: FeatureLog, partition: int) -> OutputRecord:
        return OutputRecord(RANKING_FEATURES, log["pseudonym"].encode(), self._logs.encode(log), bytes.fromhex(log["log_id"]), partition)

    def _output(self, issued: IssuedRecommendation, event: CleanEvent, partition: int) -> OutputRecord:
        value = self._writer.encode(issued, event)
        counts = ((issued.policy, issued.model_version, str(UNPROFILED not in event["flags"]).lower()),)
        return OutputRecord(RECOMMENDATIONS, event["pseudonym"].encode(), value, answer_id(event), partition, counts=counts)


def _excluded(trigger: Trigger, rules: ProfileRules) -> list[str]:
    return trigger.request.excluded + recently_recommended(trigger.profile, trigger.request.at_ms, rules)


def check(key: bytes | None, event: CleanEvent) -> None:
    """What the rules of this stage take for granted. Only a writer other than ingest can break it: RecordError."""
    if key != event["pseudonym"].encode():
        raise RecordError(Reason.KEY_MISMATCH, "the message key must be the pseudonym")
    code = CODES.get(event["event_type"])
    if code is None and event["event_type"] not in _OF_THE_SHOPPER:
        raise RecordError(Reason.UNKNOWN_EVENT_TYPE, "behaviour.clean holds an event type that ingest does not write")
    if _EVENT_ID.fullmatch(event["event_id"]) is None:
        raise RecordError(Reason.UNDECODABLE, "event_id must be 32 hexadecimal characters")
    if event["event_type"] in (CONSENT, ERASE):
        if not has_shopper(event):
            raise RecordError(Reason.UNDECODABLE, "a consent or erase event needs a shopper")
    elif event["event_type"] == MOVE:
        if not event["move"]:
            raise RecordError(Reason.UNDECODABLE, "a move event needs what it says")
    elif code is None:
        if not event["linked_to"] or not has_shopper(event):
            raise RecordError(Reason.UNDECODABLE, "an identify event needs a shopper, and linked_to")
    elif code == SEARCH:
        if not event["query"]:
            raise RecordError(Reason.MISSING_QUERY, "a search needs a query")
    elif not event["item_id"] and (has_shopper(event) or not event["sealed_id"]):
        raise RecordError(Reason.MISSING_ITEM, "only searches may lack an item_id")
