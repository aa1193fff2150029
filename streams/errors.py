"""All errors of the product, in one tree. The class says what a runner must do.

::

    VeilstreamError
    ├── RecordError          this record is bad: dead-letter it (with a Reason), then continue
    ├── ModelRefused         this model is bad: keep the old one (with a Refusal)
    ├── TransientError       something outside failed: keep the record, try again
    │   └── NotOwner               the partition belongs, or may belong, to another worker: stop work on it
    └── FatalError           stop and tell the operator
        ├── ConfigurationError     a setting, a key file, a model, a topic: names the fix (exit code 1)
        ├── BrokerUnavailable      no broker at the address
        ├── AccessDenied           the credentials lack a right at the broker: names it, and the command that grants it
        ├── StateDamaged           a local state file is broken: names the folder to delete
        ├── GroupPositionLost      the group's offsets are lost and can't be restored: says what to do
        └── TooManyRejects         the share of refused records is above its limit

``encoders`` has its own errors, which all name the fix. For ``except``, ``PRODUCT``, ``FATAL`` and ``SETUP`` contain both.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from encoders.errors import EncoderError


class Reason(StrEnum):
    """Machine-readable reason of a dead letter, or of what is left out without one. Add members; never rename one."""

    # framing and schema
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    BAD_FRAMING = "bad_framing"
    UNKNOWN_SCHEMA = "unknown_schema"
    WRONG_SCHEMA = "wrong_schema"
    UNDECODABLE = "undecodable"
    # event rules
    MISSING_USER = "missing_user"
    BAD_USER = "bad_user"
    NOBODY = "nobody"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    MISSING_ITEM = "missing_item"
    BAD_ITEM = "bad_item"
    MISSING_QUERY = "missing_query"
    BAD_QUERY = "bad_query"
    BAD_TIME = "bad_time"
    TIME_IN_FUTURE = "time_in_future"
    TIME_TOO_OLD = "time_too_old"
    BAD_PRICE = "bad_price"
    BAD_CURRENCY = "bad_currency"
    BAD_QUANTITY = "bad_quantity"
    AUTOMATED = "automated"
    UNKNOWN_SOURCE = "unknown_source"
    BAD_SHAPE = "bad_shape"
    QUARANTINED = "quarantined"
    BAD_CONSENT = "bad_consent"
    BAD_REQUEST = "bad_request"
    # what a shopper does not allow, and identify events that link nothing: no dead letter, they are counted as dropped
    NO_CONSENT = "no_consent"
    NOTHING_TO_LINK = "nothing_to_link"
    NOTHING_TO_MOVE = "nothing_to_move"
    # item rules
    BAD_TITLE = "bad_title"
    KEY_MISMATCH = "key_mismatch"
    NOT_OURS = "not_ours"
    BAD_AVAILABILITY = "bad_availability"
    DUPLICATE_ITEM = "duplicate_item"
    # the record can't be parsed at all
    UNREADABLE = "unreadable"
    # anything a stage raised on this record alone
    POISON = "poison"


class Refusal(StrEnum):
    """Machine-readable reason why a model is not served. Add members; never rename one."""

    MALFORMED = "malformed"
    NOT_FINITE = "not_finite"
    SIGNATURE = "signature"
    HASH = "hash"
    MISSING_FILE = "missing_file"
    EXTRA_FILE = "extra_file"
    UNSAFE_PATH = "unsafe_path"
    FILE_KIND = "file_kind"
    DIMENSION = "dimension"
    OTHER_CONTENT = "other_content"
    OUTDATED = "outdated"
    UNCOUNTED = "uncounted"


_NAMED = 5
"""So many of the rights that are missing are named in one line."""


class VeilstreamError(Exception):
    """Base of all errors of the product."""


class TooLargeError(ValueError):
    """Something unpacks to more than a limit allows. What reads it stops there."""


class RecordError(VeilstreamError):
    """A record is bad. ``detail`` says what is wrong and how to fix it. It never quotes a value of the record."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class ModelRefused(VeilstreamError):
    """A model, its manifest or its announcement differs from the signed one. The message names the problem and the fix."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"model refused ({refusal.value}): {detail}")
        self.refusal = refusal
        self.detail = detail


class TransientError(VeilstreamError):
    """Something outside failed; the same call may succeed later."""


class NotOwner(TransientError):
    """The partition belongs to another worker. Or the coordinator has been silent so long that it may belong to another worker."""


class FatalError(VeilstreamError):
    """The process must stop; the message names the fix."""


class StateDamaged(FatalError):
    """A local state file can't be read or written; the message says what to delete."""


class ConfigurationError(FatalError):
    """A setting, key file, model or topic is missing or wrong."""


class BrokerUnavailable(FatalError):
    """No Kafka broker answers at the configured address."""


class AccessDenied(FatalError):
    """The credentials lack rights at the broker. ``rights`` are texts such as "Read topic behaviour.clean"; ``role`` is whose they are: a
    stage, or another one of ``veilstream access acls --stage``. None where whoever raises it does not know."""

    def __init__(self, rights: Sequence[str], role: str | None = None) -> None:
        command = f"veilstream access acls --stage {role}" if role else "veilstream access acls"
        more = f" and {len(rights) - _NAMED} more" if len(rights) > _NAMED else ""
        super().__init__(
            f"{role or 'whoever has these credentials'} may not {', '.join(rights[:_NAMED])}{more}; "
            f"an administrator of the brokers grants it with what `{command}` prints"
        )
        self.rights = tuple(rights)
        self.role = role


class GroupPositionLost(FatalError):
    """The consumer group has no offset for a partition, although much of it was already processed. To continue could write all of it
    again.
    """


class TooManyRejects(FatalError):
    """More than the set share of recent records was refused."""


PRODUCT = (VeilstreamError, EncoderError)
"""All errors that the product raises on purpose."""
FATAL = (FatalError, EncoderError)
"""Errors that end a process."""
SETUP = (ConfigurationError, EncoderError)
"""Errors of configuration."""
