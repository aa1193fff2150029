"""How many units; outliers are capped.

The cap is a rule on the event alone. A cap estimated from recent events would depend on which events a worker happened to
see, so that the same event, processed again after a crash, could come out differently. Its value comes from a robust
fit done once: over the 386,359 purchase lines of the Online Retail year (quantities heavy-tailed, up to 80,995), the
logarithm of the quantity has median ln 6 and median absolute deviation ln 2; exp(median + 5 · 1.4826 · MAD) is 1,022,
rounded to 1,000. A shop with other habits sets its own (VEILSTREAM_QUANTITY_CAP).
"""

from __future__ import annotations

from streams.errors import Reason, RecordError

DEFAULT_CAP = 1000


def quantity(value: float | None, cap: int = DEFAULT_CAP, *, is_return: bool = False) -> tuple[int, bool]:
    """Whole units, at least 1, and whether the cap cut it. Returns may be negative in some shops: their size counts.

    Raises RecordError where it is not a number above zero.
    """
    if value is None:
        return 1, False
    size = abs(value) if is_return else value
    if not 0 < size < 1e12:  # also refuses NaN and infinity
        raise RecordError(Reason.BAD_QUANTITY, "quantity must be a number above zero")
    return (cap, True) if size > cap else (max(1, round(size)), False)
