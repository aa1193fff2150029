"""No value is ever silently changed: what the reader gives is what an independent, slow reading gives, or it is refused.

The slow reading uses decimal fractions and its own grammar, character by character; it shares no code with the reader. ``RECORDS`` in the
environment sets the number of generated records (a million takes minutes).
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from streams.errors import RecordError
from streams.serde import local_codecs
from streams.sources.mapping import read_mapping
from streams.sources.source import Source
from streams.stages.ingest.clean import quantity
from streams.stages.times import to_milliseconds
from streams.topics import BEHAVIOUR_RAW

RECORDS = int(os.environ.get("VALUES_RECORDS", "20000"))
FORMATS = {"1299.00": ("", "."), "1299,00": ("", ","), "1,299.00": (",", "."), "1.299,00": (".", ","), "1 299,00": (" ", ",")}
PLAIN = local_codecs().for_topic(BEHAVIOUR_RAW)
SOURCES = {
    form: Source(
        read_mapping(
            f'source: s\nnumber: "{form}"\nfields: {{type: event_type, user: user_id, item: item_id, price: price, quantity: quantity}}\n',
            "f",
        )
    )
    for form in FORMATS
}
REFUSED = object()


def slow_number(text: str, group: str, decimal: str) -> Any:
    """The number that a text is in a format, as an exact fraction; REFUSED if it is none."""
    text = text.strip()
    sign = 1
    if text[:1] in ("-", "+"):
        sign = -1 if text[0] == "-" else 1
        text = text[1:]
    whole, mark, part = text.partition(decimal)
    if mark and (not part or any(c not in "0123456789" for c in part)):
        return REFUSED
    groups = whole.split(group) if group else [whole]
    if any(not g or any(c not in "0123456789" for c in g) for g in groups):
        return REFUSED
    if len(groups) > 1 and (len(groups[0]) > 3 or any(len(g) != 3 for g in groups[1:])):
        return REFUSED
    total = Fraction(0)
    for digit in "".join(groups):
        total = total * 10 + "0123456789".index(digit)
    scale = Fraction(1)
    for digit in part:
        scale /= 10
        total += scale * "0123456789".index(digit)
    return sign * total


def slow_canonical(text: str) -> Any:
    """As JSON would write it, but for a point before exactly three digits that could separate thousands."""
    text = text.strip()
    body = text.removeprefix("-")
    whole, mark, part = body.partition(".")
    if not whole or (len(whole) > 1 and whole[0] == "0") or text.startswith("+"):
        return REFUSED
    if mark and len(part) == 3 and len(whole) <= 3 and whole != "0":
        return REFUSED
    return slow_number(text, "", ".")


def spelled(value: Decimal, group: str, decimal: str, drawn: random.Random) -> str:
    sign, text = ("-" if value < 0 else ""), f"{abs(value):f}"
    whole, _, part = text.partition(".")
    if group and drawn.random() < 0.7:
        head = len(whole) % 3 or 3
        whole = group.join([whole[:head], *(whole[i : i + 3] for i in range(head, len(whole), 3))])
    return f"{sign}{whole}{decimal + part if part else ''}"


def draw_number(drawn: random.Random) -> Any:
    value = Decimal(drawn.randrange(10 ** drawn.randrange(1, 8))).scaleb(-drawn.randrange(4)) * drawn.choice([1, 1, 1, -1])
    kind = drawn.randrange(6)
    if kind == 0:
        return float(value)
    if kind == 1:
        return int(value)
    if kind == 2:
        return drawn.choice(
            [None, True, [], {}, "", " ", "NaN", "1e5", "１２３", "twelve", "1_000", "0x1F", "٣", "12.5.1", "--4", "5-", ".5", "5."]
        )
    group, decimal = drawn.choice(list(FORMATS.values()))
    return spelled(value, group, decimal, drawn)


def wanted_number(value: Any, form: str | None) -> Any:
    if value is None or isinstance(value, (list, dict, bool)):
        return None if value is None else REFUSED
    if isinstance(value, (int, float)):
        return Fraction(value)
    if not value.strip():
        return None
    if form is None:
        return slow_canonical(value)
    plain = value.translate({0xFF10 + n: str(n) for n in range(10)})
    return slow_number(plain, *FORMATS[form])


def read(event: dict[str, Any], form: str | None) -> dict[str, Any] | None:
    try:
        if form is None:
            return PLAIN.from_json(event)
        (line,) = SOURCES[form].events(event)
    except RecordError:
        return None
    return line if isinstance(line, dict) else None


def test_numbers_and_ids_are_what_they_were() -> None:
    drawn = random.Random(14)
    kept = refused = 0
    for _ in range(RECORDS):
        form = drawn.choice([None, *FORMATS])
        identity = drawn.choice(["anna", "0012", "12.0", " x ", "1e5", 12, 0, -4, 2**63, 12.0, 1.5, True, [1], "１２"])
        event = {"user_id": identity, "event_type": "cart", "item_id": "i", "price": draw_number(drawn), "quantity": draw_number(drawn)}
        wanted = {name: wanted_number(event[name], form) for name in ("price", "quantity")}
        found = read(event, form)
        is_id = type(identity) in (str, int)
        assert (found is None) == (not is_id or REFUSED in wanted.values()), (event, form)
        if found is None:
            refused += 1
            continue
        kept += 1
        assert found["user_id"] == (str(identity) if form is None else str(identity).strip())
        for name, value in wanted.items():
            assert (found[name] is None) == (value is None)
            if value is not None:
                assert Fraction(found[name]) == Fraction(float(value)), (event, form)
        whole = wanted["quantity"]
        if whole is not None:
            try:
                units, capped = quantity(found["quantity"])
            except RecordError:
                assert whole.denominator != 1 or not 0 < whole < 10**12
            else:
                assert whole.denominator == 1 and (Fraction(units) == whole or (capped and whole > units))
    assert min(kept, refused) > RECORDS // 10


SPELLINGS = ("%Y-%m-%dT%H:%M:%SZ",
             "%Y/%m/%d %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y年%m月%d日 %H:%M:%S",
             "%a, %d %b %Y %H:%M:%S GMT", "%d %B %Y %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S UTC")  # fmt: skip


def test_times_are_what_they_were() -> None:
    drawn = random.Random(41)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    refused = 0
    for _ in range(RECORDS // 2):
        seconds = drawn.randrange(200_000_000, 4_000_000_000)
        moment = epoch + timedelta(seconds=seconds)
        spelling = drawn.choice([*SPELLINGS, None])
        unit = drawn.choice([1, 1000, 10**6, 10**9])
        value = seconds * unit if spelling is None else moment.strftime(spelling)
        try:
            found = to_milliseconds(value if drawn.random() < 0.5 else str(value))
        except RecordError as error:
            refused += 1
            assert (
                spelling is not None
                and spelling[1] in "dm"
                and moment.day <= 12
                and moment.day != moment.month
                and "ambiguous" in str(error)
            )
        else:
            assert found == seconds * 1000, value
    assert refused


@pytest.mark.parametrize("form", FORMATS)
def test_the_slow_reading_can_tell(form: str) -> None:
    group, decimal = FORMATS[form]
    assert slow_number(f"1{group}299{decimal}50", group, decimal) == Fraction("1299.5")
    assert slow_number("x", group, decimal) is REFUSED
    assert slow_canonical("1.299") is REFUSED and slow_canonical("12.50") == Fraction("12.5") and slow_canonical("01") is REFUSED
