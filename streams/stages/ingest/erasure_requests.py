"""``privacy.erasure`` to ``behaviour.clean``, where a request stands among the shopper's events, and to ``privacy.forgotten``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from streams.clock import Clock
from streams.dead_letters.letters import DeadLetterBuilder, PositionIds
from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import Reason, RecordError
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.request_ids import why_no_request_id
from streams.serde.codec import Codecs
from streams.serde.records import ERASE, ErasureRequest, Forgotten
from streams.stages import identifiers
from streams.stages.ingest.bare_event import bare
from streams.stages.ingest.consents import ConsentBook, subject_of
from streams.stages.ingest.identities import Identities, Identity
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.times import floor_to
from streams.topics import BEHAVIOUR_CLEAN, CONSENT_DECISIONS, PRIVACY_ERASURE, PRIVACY_FORGOTTEN

EVERYTHING = "all"
_ITEM = "item:"


class ErasureRequests:
    """The part of the ingest stage that handles requests to forget a shopper."""

    def __init__(
        self,
        codecs: Codecs,
        consents: ConsentBook,
        identities: Identities,
        pseudonymizer: Pseudonymizer,
        dead_letters: DeadLetterBuilder,
        ids: PositionIds,
        rules: IngestRules,
        clock: Clock,
        forget: Callable[[str], object],
    ) -> None:
        """``forget`` is called with the pseudonym of each shopper of whom everything is to be forgotten."""
        self._forget = forget
        self._requests = codecs.for_topic(PRIVACY_ERASURE)
        self._forgotten = codecs.for_topic(PRIVACY_FORGOTTEN)
        self._clean = codecs.for_topic(BEHAVIOUR_CLEAN)
        self._consents = consents
        self._identities = identities
        self._pseudonymizer = pseudonymizer
        self._dead_letters = dead_letters
        self._ids = ids
        self._rules = rules
        self._clock = clock

    async def __call__(self, batch: Sequence[SourceRecord]) -> BatchResult:
        """For each request an event at which stages forget, a record for the trainer, and tombstones for the decisions on consent."""
        result = BatchResult()
        if self._consents.catch_up is not None:
            await self._consents.catch_up()  # there may be decisions on purposes that this worker has not met
        now_ms = self._clock.now_ms()
        for record in batch:
            received_ms = record.timestamp if 0 < record.timestamp < now_ms else now_ms
            try:
                request = cast(ErasureRequest, self._requests.decode(record.value, record.headers))
                item_id = _item_of(request)
                identity = self._identities.of(*subject_of(request, record.key))
            except RecordError as error:
                result.outputs.append(self._dead_letters.build(record, error))
                result.rejected += 1
                result.excused += 1
                result.reasons[error.reason.value] = result.reasons.get(error.reason.value, 0) + 1
                continue
            result.outputs += self._outputs(record, identity, request, item_id, received_ms)
            if item_id is None:
                self._identities.forget(identity)
                self._forget(identity.pseudonym)
        return result

    def _outputs(
        self, record: SourceRecord, identity: Identity, request: ErasureRequest, item_id: str | None, received_ms: int
    ) -> list[OutputRecord]:
        event_id = self._pseudonymizer.position_id(record.topic, record.partition, record.offset)
        event = bare(event_id, identity.pseudonym, b"", ERASE, floor_to(received_ms, self._rules.time_bucket_ms))
        event["item_id"], event["request_id"] = item_id, request["request_id"]
        forgotten = Forgotten(
            pseudonym=identity.pseudonym,
            request_id=request["request_id"],
            requested_at=request["requested_at"],
            received_at=received_ms,
            item_id=item_id,
        )
        outputs = [
            OutputRecord(BEHAVIOUR_CLEAN, identity.key, self._clean.encode(event), self._ids.of(record)),
            OutputRecord(PRIVACY_FORGOTTEN, identity.key, self._forgotten.encode(forgotten), self._ids.of(record)),
        ]
        if item_id is None:
            for number, key in enumerate(self._consents.forget(identity.pseudonym), 1):
                outputs.append(OutputRecord(CONSENT_DECISIONS, key.encode(), None, self._ids.of(record, number)))
        return outputs


def _item_of(request: ErasureRequest) -> str | None:
    """The item that a request is about; None where it is about everything. Raises RecordError for a request that is none."""
    wrong = why_no_request_id(request["request_id"])
    if wrong is not None:
        raise RecordError(Reason.BAD_REQUEST, wrong)
    scope = request["scope"].strip()
    if scope == EVERYTHING:
        return None
    if scope.startswith(_ITEM):
        return identifiers.item_id(scope.removeprefix(_ITEM))
    raise RecordError(Reason.BAD_REQUEST, "scope must be all, or item:<item id>")
