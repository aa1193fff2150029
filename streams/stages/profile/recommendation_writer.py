"""Writes recommendations in Avro directly, because the codec takes longer for one than the whole ranking.

The codec spends nearly all of this time to find, for every reason, the branch of a union that a value belongs to. Here the branch is known.
A source of reasons is written once, even if several items use it. To be safe against schema changes, a sample is written both ways at the
start. If the two differ (a field was added), the codec writes everything.
"""

from __future__ import annotations

from struct import Struct

import numpy as np

from streams.engine.ports import RecordCodec
from streams.ranking.request import Source
from streams.ranking.rules import EVENT_TYPES
from streams.serde.records import CleanEvent, has_shopper
from streams.stages.profile.profile import IssuedRecommendation
from streams.stages.profile.recommendation import is_trainable, judged_of, scores_of, to_record

_HEADER = 5
"""Bytes of the wire framing before the Avro body."""
_BOOLEANS = (b"\0", b"\1")
_SHORT = tuple(bytes((2 * n,)) for n in range(64))
"""Small numbers as Avro writes them."""
_double = Struct("<d").pack
_doubles = Struct("<3d").pack


class RecommendationWriter:
    """Recommendations to framed values."""

    def __init__(self, codec: RecordCodec) -> None:
        self._codec = codec
        issued, event = _sample()
        sample = codec.encode(to_record(issued, event))
        self._prefix = sample[:_HEADER]
        self.direct = self._prefix + _body(issued, event) == sample
        """Whether the schema is the one that this module knows."""

    def encode(self, issued: IssuedRecommendation, event: CleanEvent) -> bytes:
        """The same bytes as the codec gives for ``to_record``."""
        return self._prefix + _body(issued, event) if self.direct else self._codec.encode(to_record(issued, event))


def _body(issued: IssuedRecommendation, event: CleanEvent) -> bytes:
    scores, judged = scores_of(issued), judged_of(issued)
    places = np.frombuffer(issued.reasons, "<u2").tolist()
    shares = np.frombuffer(issued.shares, "<f4").tolist()
    sources = [_source(source) for source in issued.sources]
    width = len(places) // len(issued.items) if issued.items else 0
    out = [
        _string(issued.recommendation_id.hex()),
        _string(event["pseudonym"]),
        _bytes(event["sealed_id"]),
        _string(issued.policy),
        _string(event["event_id"]),
        _string(event["event_type"]),
        _long(issued.offset),
        _long(event["occurred_at"]),
        _string(issued.model_version),
        _double(issued.threshold),
        _long(len(issued.items)) if issued.items else b"",
    ]
    for rank, item_id in enumerate(issued.items):
        cosine, prior, together, match = scores[rank]
        score = cosine + prior + together + match if judged is None else judged[rank][0]
        out += (_string(item_id), _long(rank), _doubles(score, cosine, prior))
        own = range(rank * width, rank * width + width)
        reasons = [sources[places[n]] + _double(shares[n]) for n in own if shares[n]]
        if reasons:
            out.append(_long(len(reasons)))
            out += reasons
        probability = b"\0" if judged is None else b"\2" + _double(judged[rank][1])
        out += (b"\0", _double(together), _double(match), probability)
    out += (b"\0", _BOOLEANS[has_shopper(event)], _BOOLEANS[is_trainable(event)])
    return b"".join(out)


def _source(source: Source) -> bytes:
    event_type = None if source.event_type is None else EVENT_TYPES[source.event_type]
    return _string(source.kind) + _optional(source.item_id) + _optional(event_type)


def _optional(text: str | None) -> bytes:
    """The union of null and string."""
    return b"\0" if text is None else b"\2" + _string(text)


def _string(text: str) -> bytes:
    data = text.encode()
    length = len(data)
    return (_SHORT[length] if length < 64 else _long(length)) + data


def _bytes(data: bytes) -> bytes:
    return _long(len(data)) + data


def _long(number: int) -> bytes:
    """Avro's zigzag, then seven bits a byte, lowest first."""
    code = (number << 1) ^ (number >> 63)
    if code < 0x80:
        return code.to_bytes(1, "little")
    out = bytearray()
    while code >= 0x80:
        out.append(code & 0x7F | 0x80)
        code >>= 7
    out.append(code)
    return bytes(out)


def _sample() -> tuple[IssuedRecommendation, CleanEvent]:
    """One of everything: reasons of each kind, an item without any."""
    event = CleanEvent(
        event_id="event",
        pseudonym="pseudonym",
        sealed_id=b"\xff" * 200,
        event_type="view",
        occurred_at=1_300_000_000_000,
        item_id="item",
        query=None,
        quantity=1,
        price_band=None,
        currency=None,
        country=None,
        recommendation_id=None,
        position=None,
        session=None,
        flags=[],
        linked_to=None,
        refused=[],
        request_id=None,
        move=None,
    )
    issued = IssuedRecommendation(
        offset=70_000,
        recommendation_id=bytes(range(16)),
        model_version="version",
        policy="behaviour",
        threshold=0.25,
        items=["one", "two"],
        scores=np.array([0.5, 0.25, 0.125, 0.0625, 0.5, 0.0, 0.0, 0.0], "<f4").tobytes(),
        sources=[Source("item", "three", 0), Source("query", None, 2), Source("popularity")],
        reasons=np.array([0, 1, 2, 0, 1, 2], "<u2").tobytes(),
        shares=np.array([0.5, 0.25, 0.125, 0.0, 0.0, 0.0], "<f4").tobytes(),
    )
    return issued, event
