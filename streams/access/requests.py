"""Two requests that answer with the rights of whoever asks; aiokafka has neither in a version that does.

Layouts: https://kafka.apache.org/protocol.html#The_Messages_Metadata (version 8) and #The_Messages_DescribeGroups (version 3). Both exist
since Kafka 2.3. The rights are a bit field: bit n stands for the operation with the code n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

_PARTITION = (
    ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32), ("replicas", Array(Int32)),
    ("isr", Array(Int32)), ("offline", Array(Int32)),
)  # fmt: skip
_TOPIC = (
    ("error_code", Int16), ("name", String("utf-8")), ("is_internal", Boolean), ("partitions", Array(*_PARTITION)), ("operations", Int32),
)  # fmt: skip
_BROKER = (("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))

OPERATIONS = {
    3: "Read", 4: "Write", 5: "Create", 6: "Delete", 7: "Alter", 8: "Describe", 9: "ClusterAction", 10: "DescribeConfigs",
    11: "AlterConfigs", 12: "IdempotentWrite",
}  # fmt: skip
"""Kafka's codes of operations (AclOperation)."""


def operations_in(bits: int) -> frozenset[str] | None:
    """None where the broker does not tell: then the number is negative.

    >>> sorted(operations_in(1 << 3 | 1 << 8))
    ['Describe', 'Read']
    """
    return None if bits < 0 else frozenset(name for code, name in OPERATIONS.items() if bits >> code & 1)


class TopicRightsResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(*_BROKER)),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        ("topics", Array(*_TOPIC)),
        ("operations", Int32),
    )


class TopicRightsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = TopicRightsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


_TopicRights: TypeAlias = TopicRightsStruct


class TopicRightsRequest(Request[_TopicRights]):  # type: ignore[misc]
    """Of these topics, or with None of all that may be seen; and of the cluster."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str] | None) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(None if self._topics is None else list(self._topics), False, True, True)


class GroupRightsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


_GroupRights: TypeAlias = GroupRightsStruct


class GroupRightsRequest(Request[_GroupRights]):  # type: ignore[misc]
    """Of these groups, by their coordinator."""

    API_KEY = 15

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(list(self._groups), True)
