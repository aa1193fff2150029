"""``privacy.erasure`` to ``behaviour.clean``, where a request stands among the shopper's events, and to ``privacy.forgotten``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from streams.engine.records import BatchResult, OutputRecord, SourceRecord
from streams.errors import Reason, RecordError
from streams.privacy.request_ids import why_no_request_id
from streams.serde.records import ERASE, ErasureRequest, Forgotten
from streams.stages import identifiers
from streams.stages.ingest.identities import Identity
from streams.stages.ingest.shopper_messages import Parts, subject_of
from streams.topics import CONSENT_DECISIONS, PRIVACY_ERASURE, PRIVACY_FORGOTTEN

EVERYTHING = "all"
_ITEM = "item:"


class ErasureRequests:
    """The part of the ingest stage that handles requests to forget a shopper."""

    def __init__(self, parts: Parts, forget: Callable[[str], object]) -> None:
        """``forget`` is called with the pseudonym of each shopper of whom everything is to be forgotten."""
        self._parts = parts
        self._forget = forget
        self._requests = parts.codecs.for_topic(PRIVACY_ERASURE)
        self._forgotten = parts.codecs.for_topic(PRIVACY_FORGOTTEN)

    async def __call__(self, batch: Sequence[SourceRecord]) -> BatchResult:
        """For each request an event at which stages forget, a record for the trainer, and tombstones for the decisions on consent."""
        result, parts = BatchResult(), self._parts
        await parts.consents.catch_up()  # there may be decisions on purposes that this worker has not met
        whole: list[Identity] = []
        for record in batch:
            try:
                request = cast(ErasureRequest, self._requests.decode(record.value, record.headers))
                item_id = _item_of(request)
                identity = parts.identities.of(*subject_of(request, record.key))
            except RecordError as error:
                parts.refuse(record, error, result)
                continue
            result.outputs += self._outputs(record, identity, request, item_id)
            if item_id is None:
                whole.append(identity)
                self._forget(identity.pseudonym)
        parts.identities.forget(whole)
        return result

    def _outputs(self, record: SourceRecord, identity: Identity, request: ErasureRequest, item_id: str | None) -> list[OutputRecord]:
        parts = self._parts
        received_ms = parts.received_ms(record)
        event = parts.event(record, identity, ERASE, received_ms)
        event["item_id"], event["request_id"] = item_id, request["request_id"]
        forgotten = Forgotten(
            pseudonym=identity.pseudonym,
            request_id=request["request_id"],
            requested_at=request["requested_at"],
            received_at=received_ms,
            item_id=item_id,
        )
        outputs = [
            *(parts.moves.erased(identity, record, item_id, request["request_id"], received_ms) if parts.moves is not None else ()),
            parts.clean(record, event),
            OutputRecord(PRIVACY_FORGOTTEN, identity.key, self._forgotten.encode(forgotten), parts.ids.of(record)),
        ]
        if item_id is None:
            keys = parts.consents.forget(identity.pseudonym)
            keys += parts.consents.forget(identity.former) if identity.former else []
            for number, key in enumerate(keys, 1):
                outputs.append(OutputRecord(CONSENT_DECISIONS, key.encode(), None, parts.ids.of(record, number)))
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
