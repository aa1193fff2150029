"""Reads the records of a source by its mapping: JSON objects or CSV rows to raw events, one for each line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from streams.errors import Reason, RecordError
from streams.serde.records import BehaviourEvent
from streams.sources.getters import Getter
from streams.sources.mapping import SKIP, SourceMapping
from streams.stages.identifiers import IDENTIFY
from streams.stages.placeholders import is_nobody

MAX_LINES = 1000
"""Of one record."""
MAX_IN_ALL = 5000
"""Of a record that holds several."""
_AGREED = frozenset({"true", "yes", "granted", "consent"})
"""Texts that say that a shopper agreed; the last is how Snowplow names the lawful basis. Nothing else does, and least of all a 1."""

RAW_FIELDS = tuple(BehaviourEvent.__annotations__)
RawEvent = dict[str, Any]
Line = RawEvent | RecordError
"""An event as the stage takes it, or why a line can't be one."""


def _no_object() -> RecordError:
    return RecordError(Reason.BAD_SHAPE, "the record, or a line of it, is not an object")


def _missing(record: Any, line: Any) -> None:
    return None


class Source:
    """A source's reader. What it gives has text where the schema has text, and numbers where it has numbers; it never guesses."""

    def __init__(self, mapping: SourceMapping) -> None:
        self.name = mapping.name
        self.mapping = mapping

        def get(name: str) -> Getter:
            return mapping.getters.get(name, _missing)

        self._type = mapping.getters["event_type"]
        self._user, self._anonymous = get("user_id"), get("anonymous_id")
        self._currency, self._recommendation = get("currency"), get("recommendation_id")
        self._region, self._agent = get("region"), get("user_agent")
        self._event_id, self._time = get("event_id"), get("occurred_at")
        self._item, self._query = get("item_id"), get("query")
        self._quantity, self._price = get("quantity"), get("price")
        self._position, self._session = get("position"), get("session_id")
        self._consent = get("consent")

    def events(self, record: Any) -> list[Line]:
        """The events of one record, an object; none where its type is skipped. A line that can't be read is a RecordError, and leaves the
        others as they are. Raises RecordError where nothing of the record can be read.
        """
        if type(record) is not dict:
            raise _no_object()
        split = self.mapping.split
        if split is None or split not in record:
            return self._record(record)
        parts = record[split]
        if type(parts) is not list:
            raise RecordError(Reason.BAD_SHAPE, f"{split} of the record is not an array")
        if len(parts) > MAX_LINES:
            raise RecordError(Reason.TOO_LARGE, f"the record has {len(parts)} events; at most {MAX_LINES} are read")
        batch = {name: value for name, value in record.items() if name != split}
        found: list[Line] = []
        for part in parts:
            try:
                found += self._record({**part, "batch": batch}) if type(part) is dict else [_no_object()]
            except RecordError as error:
                found.append(error)
            if len(found) > MAX_IN_ALL:
                raise RecordError(Reason.TOO_LARGE, f"the record has more than {MAX_IN_ALL} lines")
        return found

    def _record(self, record: RawEvent) -> list[Line]:
        lines: Any = None
        for get in self.mapping.lines:
            lines = get(record)
            if lines:
                break
        if not lines:
            return self._line(record, record, None)
        if type(lines) is not list:
            raise RecordError(Reason.BAD_SHAPE, "the lines of the record are not an array")
        if len(lines) > MAX_LINES:
            raise RecordError(Reason.TOO_LARGE, f"the record has {len(lines)} lines; at most {MAX_LINES} are read")
        if self._is_search(self._type(record, None)):
            return self._line(record, record, None)  # what was found is no search
        return [event for index, line in enumerate(lines) for event in self._line(record, line, index)]

    def _line(self, record: Any, line: Any, index: int | None) -> list[Line]:
        try:
            if type(line) not in (dict, str, int):
                return [_no_object()]
            event = self._event(record, line, index)
            found: list[Line] = [] if event is None else [event]
            if self.mapping.links_sessions and not index and (event is None or event["event_type"] != IDENTIFY):
                found += self._session_link(record, line)
            return found
        except RecordError as error:
            return [error]

    def _event(self, record: Any, line: Any, index: int | None) -> RawEvent | None:
        mapping = self.mapping
        kind = self._kind(self._type(record, line))
        if kind == SKIP:
            return None
        quantity = mapping.read_number(self._quantity(record, line), "quantity", Reason.BAD_QUANTITY)
        if quantity is not None:
            if quantity < 0 and mapping.negative_is_return and kind in ("purchase", "return"):
                kind, quantity = "return", -quantity
            if mapping.fractions_are_one and quantity > 0 and quantity != int(quantity):
                quantity = 1
        time = mapping.read_time(_or_cloud(self._time(record, line), record, "time"))
        is_search = kind == "search"
        event: RawEvent = {
            "user_id": self._person(_text(self._user(record, line), "user_id")),
            "event_type": kind,
            "event_id": self._id(record, line, index, time),
            "occurred_at": time,
            "item_id": None if is_search else self._thing(_text(self._item(record, line), "item_id")),
            "query": _text(self._query(record, line), "query") if is_search else None,
            "quantity": quantity,
            "price": mapping.read_number(self._price(record, line), "price", Reason.BAD_PRICE),
            "currency": _text(self._currency(record, line), "currency"),
            "recommendation_id": _text(self._recommendation(record, line), "recommendation_id"),
            "position": _rank(self._position(record, line)),
            "session_id": _text(self._session(record, line), "session_id"),
            "region": _text(self._region(record, line), "region"),
            "user_agent": _text(self._agent(record, line), "user_agent"),
            "anonymous_id": self._unknown(_text(self._anonymous(record, line), "anonymous_id")),
        }
        if kind == IDENTIFY:
            event["consent"] = _agreed(self._consent(record, line))
        for name, undo in mapping.encoded:
            if type(event.get(name)) is str:
                event[name] = _decoded(event[name], name, undo)
        return event

    def _session_link(self, record: Any, line: Any) -> list[Line]:
        """The identify event that an event of a user and an anonymous id is, where she agreed. All of a session have one id, so that the
        first of them counts."""
        try:
            if not _agreed(self._consent(record, line)):
                return []
            user = self._person(_text(self._user(record, line), "user_id"))
            anonymous = self._unknown(_text(self._anonymous(record, line), "anonymous_id"))
            if anonymous is None or not user or is_nobody(user):
                return []
            session = _text(self._session(record, line), "session_id")
            time = self.mapping.read_time(_or_cloud(self._time(record, line), record, "time"))
            own = self._id(record, line, None, time) if session is None else f"session/{session}"
        except RecordError:
            return []  # what is wrong with it the event itself says, if it is one that counts
        return [dict.fromkeys(RAW_FIELDS) | {
            "event_type": IDENTIFY, "user_id": user, "anonymous_id": anonymous, "consent": True, "occurred_at": time,
            "event_id": None if own is None else f"{user}/{own}",
        }]  # fmt: skip

    def _is_search(self, value: Any) -> bool:
        if type(value) is not str:
            return False
        name = value.strip().lower()
        return (name if self.mapping.types is None else self.mapping.types.get(name)) == "search"

    def _kind(self, value: Any) -> str:
        if type(value) is not str:
            raise RecordError(Reason.UNKNOWN_EVENT_TYPE, "the record has no event type where the mapping looks for it")
        types = self.mapping.types
        if types is None:
            return value.strip().lower()
        found = types.get(value) or types.get(value.strip().lower())
        if found is None:
            if self.mapping.skips_others:
                return SKIP
            raise RecordError(Reason.UNKNOWN_EVENT_TYPE, "the event type is not in `types` of the source's mapping")
        return found

    def _person(self, text: str | None) -> str:
        """The user id within the source's namespace. A placeholder stays outside, so that it is known for one."""
        plain = text.strip() if text is not None else ""
        if not plain and self.mapping.nobody_if_missing:
            return "null"
        if self.mapping.nobody and plain.lower() in self.mapping.nobody:
            return "null"
        space = self.mapping.namespace
        return plain if space is None or not plain or is_nobody(plain) else f"{space}:{plain}"

    def _unknown(self, text: str | None) -> str | None:
        """The anonymous id within the source's namespace."""
        plain = text.strip() if text is not None else ""
        if not plain or is_nobody(plain) or plain.lower() in self.mapping.nobody:
            return None
        space = self.mapping.namespace
        return plain if space is None else f"{space}:{plain}"

    def _thing(self, text: str | None) -> str | None:
        return "null" if self.mapping.nothing and text is not None and text.strip().lower() in self.mapping.nothing else text

    def _id(self, record: Any, line: Any, index: int | None, time: Any) -> str | None:
        """The producer's id, with the line's own id or place. Where there is none and the record has a time: a hash of the record, so
        that the same record is the same event whenever it comes again.
        """
        own = _text(_or_cloud(self._event_id(record, line), record, "id"), "event_id")
        if own is None or not own.strip():
            if time is None:
                return None
            whole = orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
            own = f"content:{blake2b(whole, digest_size=16).hexdigest()}"
        if index is None:
            return own
        line_id = self.mapping.line_id(record, line) if self.mapping.line_id is not None else None
        return f"{own}#{line_id if type(line_id) in (str, int) else index}"


def _or_cloud(value: Any, record: RawEvent, attribute: str) -> Any:
    """The value, or that of the CloudEvent that the record came in."""
    if value is not None:
        return value
    cloud = record.get("ce")
    return cloud.get(attribute) if type(cloud) is dict else None


def rows_as_objects(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str | None]:
    """A CSV row as an object; blank cells hold nothing."""
    return {name: cell if cell.strip() else None for name, cell in zip(columns, cells, strict=True)}


def _text(value: Any, field: str) -> str | None:
    if type(value) is str or value is None:
        return value
    if type(value) is int:
        return str(value)
    raise RecordError(Reason.UNDECODABLE, f"field {field} has a wrong type: it must be text or a whole number")


def _agreed(value: Any) -> bool:
    return value is True or (type(value) is str and value.strip().lower() in _AGREED)


def _rank(value: Any) -> int | None:
    """A rank where it is one; what else stands there says nothing about the event, and is left out."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if type(value) is int and 0 <= value < 2**31 else None


def _decoded(text: str, field: str, undo: Callable[..., str]) -> str:
    """Percent-encoding undone, once. Raises RecordError where it is not UTF-8."""
    try:
        return undo(text, errors="strict")
    except UnicodeDecodeError:
        reason = Reason.BAD_QUERY if field == "query" else Reason.UNDECODABLE
        raise RecordError(reason, f"{field} is percent-encoded, and not UTF-8") from None
