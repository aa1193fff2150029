"""The request of Kafka whose answer tells the cluster's own time; aiokafka does not have it.

Layout: https://kafka.apache.org/protocol.html#The_Messages_DescribeQuorum (version 1, since Kafka 3.3 with KRaft). It asks about the log
of the controllers. Of its leader the answer says that it was up to date just now, by the leader's clock.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

API_KEY = 55
_TOPIC, _PARTITION = "__cluster_metadata", 0
_REPLICA = (
    ("replica", Int32), ("log_end_offset", Int64), ("last_fetch", Int64), ("last_caught_up", Int64), ("tags", TaggedFields),
)  # fmt: skip
_OF_PARTITION = (
    *(("partition", Int32), ("error_code", Int16), ("leader", Int32), ("leader_epoch", Int32), ("high_watermark", Int64)),
    *(("voters", CompactArray(*_REPLICA)), ("observers", CompactArray(*_REPLICA)), ("tags", TaggedFields)),
)


class QuorumResponse(Response):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        ("topics", CompactArray(("name", CompactString("utf-8")), ("partitions", CompactArray(*_OF_PARTITION)), ("tags", TaggedFields))),
        ("tags", TaggedFields),
    )


class QuorumStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = QuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


_Quorum: TypeAlias = QuorumStruct


class QuorumRequest(Request[_Quorum]):  # type: ignore[misc]
    """Changes nothing. The right to Describe the cluster is needed."""

    API_KEY = API_KEY

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(_TOPIC, [(_PARTITION, {})], {})], {})


def leaders_time(answer: Any) -> int | None:
    """Milliseconds since the epoch, by the clock of the controllers' leader; None where the answer has none."""
    for _, partitions, _ in answer.topics or ():
        for _, error, leader, _, _, voters, _, _ in partitions or ():
            for replica, _, _, caught_up, _ in voters or ():
                if not error and replica == leader and caught_up > 0:
                    return int(caught_up)
    return None
