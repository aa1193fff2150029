"""Prices as feeds write them: with the currency in the text, and with a sale price that holds for a time."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from streams.errors import Reason, RecordError
from streams.sources.moments import ReadTime
from streams.sources.numbers import ReadNumber
from streams.stages.money import currencies
from streams.stages.times import to_milliseconds

MAX_CHARACTERS = 64
_BEFORE = re.compile(r"([A-Za-z]{3})\s*(?=[-+\d.,])")
_AFTER = re.compile(r"(?<=[\d.,])\s*([A-Za-z]{3})")


class Money(NamedTuple):
    """An amount, and the currency that stood beside it."""

    amount: float
    currency: str | None


def money(value: Any, field: str, read_number: ReadNumber) -> Money | None:
    """A number, or a text such as ``12.99 USD`` or ``USD 12.99``; None for nothing. Raises RecordError for what is no number in the
    declared format, and for three letters that are no currency.
    """
    if not isinstance(value, str):
        return _not_negative(read_number(value, field, Reason.BAD_PRICE), None, field)
    text = value.strip()
    if len(text) > MAX_CHARACTERS:
        raise RecordError(Reason.BAD_PRICE, f"{field} has more than {MAX_CHARACTERS} characters")
    code = None
    if (found := _BEFORE.match(text)) is not None:
        code, text = found[1].upper(), text[found.end() :]
    elif (found := re.search(rf"{_AFTER.pattern}$", text)) is not None:
        code, text = found[1].upper(), text[: found.start()]
    if code is not None and code not in currencies():
        raise RecordError(Reason.BAD_CURRENCY, f"{field} has letters beside it that are no ISO 4217 code")
    return _not_negative(read_number(text, field, Reason.BAD_PRICE), code, field)


def _not_negative(amount: float | None, code: str | None, field: str) -> Money | None:
    if amount is not None and amount < 0:
        raise RecordError(Reason.BAD_PRICE, f"{field} is negative")
    return None if amount is None else Money(amount, code)


def moment(value: Any, field: str, read_time: ReadTime) -> int | None:
    """UTC milliseconds; None for nothing. Raises RecordError."""
    try:
        time = read_time(value)
        return None if time is None or (isinstance(time, str) and not time.strip()) else to_milliseconds(time)
    except RecordError as error:
        raise RecordError(error.reason, error.detail.replace("occurred_at", field)) from None


def span(value: Any, field: str, read_time: ReadTime) -> tuple[int | None, int | None]:
    """Beginning and end of ``2026-11-24T11:07:31+0100/2026-11-30T23:07:31+0100``. Raises RecordError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, None
    parts = value.split("/") if isinstance(value, str) else []
    if len(parts) != 2:
        raise RecordError(Reason.BAD_TIME, f"{field} must be two times with a / between them")
    return moment(parts[0], field, read_time), moment(parts[1], field, read_time)


def holds(begin: int | None, end: int | None, at_ms: int) -> bool:
    """Whether a time that may have a beginning and an end, both part of it, holds at a moment."""
    return (begin is None or begin <= at_ms) and (end is None or at_ms <= end)


def price_at(regular: Money | None, sale: Money | None, *, on_sale: bool) -> Money | None:
    """The sale price while it holds and is one: lower, and more than nothing. Raises RecordError for two currencies."""
    if regular is None or sale is None or not on_sale:
        return regular
    if None not in (regular.currency, sale.currency) and regular.currency != sale.currency:
        raise RecordError(Reason.BAD_CURRENCY, "price and sale price have different currencies")
    if not 0 < sale.amount < regular.amount:
        return regular
    return Money(sale.amount, sale.currency or regular.currency)
