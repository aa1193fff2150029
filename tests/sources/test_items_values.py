"""No value of an item is ever silently changed: what a feed's reader gives is what an independent, slow reading gives, or it is refused.

The same drawn items are written as XML, tabs, JSON and Shopify's CSV. The slow reading works on the drawn values alone, with decimal
fractions and tables of its own; it shares no code with the readers. ``RECORDS`` in the environment sets how many items are drawn.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from tests.support.ingest_harness import NOW
from tests.support.item_feeds import from_file

RECORDS = int(os.environ.get("VALUES_RECORDS", "20000")) // 10
CURRENCIES = ("EUR", "USD", "CNY")
YES = ("in stock", "in_stock", "In Stock", "preorder", "backorder", "有货", "", "https://schema.org/InStock")
NO = ("out of stock", "out_of_stock", "缺货", "OUT OF STOCK", "sold out")
NONSENSE = ("perhaps", "stock", "12", "in stocks")
WORDS = ("Cup", "Mug & Jug", "羽绒服", "a < b", 'say "hi"', "Größe", "  ", "", "O'Neill", "x, y")


def draw_price(drawn: random.Random) -> tuple[str, Fraction | None, str | None, bool]:
    """The text; amount and currency that it says; whether it must be refused."""
    kind = drawn.randrange(10)
    if kind == 0:
        return "", None, None, False
    if kind == 1:
        return (
            drawn.choice(
                ["free", "1,299.00 USD", "12,99 EUR", "1.299 EUR", "EUR", "1e5 EUR", "--1 EUR", "12.99 XQX", "１２ EUR", "-5 EUR"]
            ),
            None,
            None,
            True,
        )
    cents = drawn.randrange(1, 10 ** drawn.randrange(2, 8))
    places = drawn.choice([0, 1, 2, 4])
    amount = Fraction(cents, 10**places)
    whole, part = divmod(cents, 10**places)
    text = f"{whole}.{part:0{places}d}" if places else str(whole)
    currency = drawn.choice([None, *CURRENCIES])
    if currency is None:
        return text, amount, None, False
    return (
        drawn.choice(
            [f"{text} {currency}", f"{currency} {text}", f"{currency}{text}", f"{text}{currency}", f" {text}  {currency.lower()} "]
        ),
        amount,
        currency,
        False,
    )


def draw(drawn: random.Random, number: int) -> tuple[dict[str, str], dict[str, Any] | None]:
    """A row of a feed, and the item that it is; None if it must be refused."""
    title = drawn.choice(WORDS)
    price, amount, currency, bad_price = draw_price(drawn)
    sale, sale_amount, sale_currency, bad_sale = draw_price(drawn)
    word = drawn.choice(YES * 2 + NO * 2 + NONSENSE)
    begin = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(minutes=drawn.randrange(-3, 3))
    end = begin + timedelta(minutes=drawn.randrange(0, 5))
    offset = drawn.choice([0, 60, -300])
    dates = "/".join(
        (moment + timedelta(minutes=offset)).strftime("%Y-%m-%dT%H:%M:%S")
        + f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
        for moment in (begin, end)
    )
    has_dates, bad_dates = drawn.random() < 0.5, drawn.random() < 0.05
    row = {
        "id": drawn.choice([f"i{number}"] * 9 + [""]),
        "title": title,
        "price": price,
        "sale_price": sale,
        "sale_price_effective_date": "yesterday" if bad_dates else dates if has_dates else "",
        "availability": word,
        "item_group_id": drawn.choice(["", "g1", "group 2"]),
        "brand": drawn.choice(WORDS),
    }
    holds = not has_dates or begin.timestamp() * 1000 <= NOW <= end.timestamp() * 1000
    if amount is not None and sale_amount is not None and holds:
        if None not in (currency, sale_currency) and currency != sale_currency:
            bad_sale = True
        elif 0 < sale_amount < amount:
            amount, currency = sale_amount, sale_currency or currency
    if not row["id"] or not title.strip() or bad_price or bad_sale or bad_dates or word in NONSENSE:
        return row, None
    return row, {
        "item_id": row["id"],
        "title": title.strip(),
        "price": amount,
        "currency": currency,
        "in_stock": word in YES,
        "group_id": row["item_group_id"] or None,
        "brand": row["brand"].strip() or None,
    }


def as_xml(rows: list[dict[str, str]], drawn: random.Random) -> bytes:
    body = "".join("<item>" + "".join(f"<g:{name}>{escape(text)}</g:{name}>" for name, text in row.items()) + "</item>" for row in rows)
    return f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{body}</channel></rss>'.encode()


def as_tsv(rows: list[dict[str, str]], drawn: random.Random) -> bytes:
    out = io.StringIO()
    names = list(rows[0])
    drawn.shuffle(names)
    writer = csv.DictWriter(out, names, delimiter="\t", lineterminator=drawn.choice(["\n", "\r\n"]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_json(rows: list[dict[str, str]], drawn: random.Random) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=drawn.random() < 0.5) for row in rows).encode()


GENERIC = "source: g\nkind: items\nfields: {item: id, title: title, price: price, sale_price: sale_price, sale_dates: sale_price_effective_date, availability: availability, group: item_group_id, brand: brand}\n"  # noqa: E501


@pytest.mark.parametrize(("write", "reads"), [(as_xml, "google-merchant"), (as_tsv, "google-merchant-tsv"), (as_json, GENERIC)])
def test_no_value_changes(write: Any, reads: str, tmp_path: Path) -> None:
    drawn = random.Random(f"{reads}14")
    pairs = [draw(drawn, number) for number in range(RECORDS)]
    wanted = [item for _, item in pairs if item is not None]
    items, refused = from_file(tmp_path / "feed", write([row for row, _ in pairs], drawn), reads)
    assert len(items) == len(wanted) and len(refused) == len(pairs) - len(wanted)
    assert len(wanted) > RECORDS // 5, "the draw is not of faults alone"
    for found, item in zip(items, wanted, strict=True):
        price = item.pop("price")
        assert {name: found[name] for name in item} == item
        # A double holds it as near as it can: the nearest one is right, and no other.
        assert found["price"] == (None if price is None else float(price))


def test_shopify_rows_of_many_handles(tmp_path: Path) -> None:
    drawn = random.Random(15)
    columns = ["Handle", "Title", "Vendor", "Option1 Value", "Variant SKU", "Variant Inventory Tracker", "Variant Inventory Qty"]
    columns += ["Variant Inventory Policy", "Variant Price", "Image Src", "Status"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    wanted = []
    for number in range(RECORDS // 4):
        status = drawn.choice(["active", "draft", "archived"])
        title = f"Product {number}"
        images = [f"https://i.example/{number}-{n}.jpg" for n in range(drawn.randrange(3))]
        variants = drawn.randrange(1, 5)
        for n in range(max(variants, len(images))):
            row = {"Handle": f"h{number}"}
            if n == 0:
                row |= {"Title": title, "Vendor": "Acme", "Status": status}
            if n < len(images):
                row["Image Src"] = images[n]
            if n < variants:
                tracker, quantity, policy = drawn.choice(["shopify", ""]), drawn.randrange(-2, 3), drawn.choice(["deny", "continue"])
                cents = drawn.randrange(1, 100_000)
                sku = drawn.choice([f"S{number}-{n}", ""])
                row |= {"Option1 Value": f"o{n}", "Variant SKU": sku, "Variant Inventory Tracker": tracker}
                row |= {
                    "Variant Inventory Qty": str(quantity),
                    "Variant Inventory Policy": policy,
                    "Variant Price": f"{cents // 100}.{cents % 100:02}",
                }
                in_stock = quantity > 0 or policy == "continue" or not tracker
                wanted.append(
                    (sku or f"h{number}/o{n}", title, f"h{number}", float(Fraction(cents, 100)), in_stock, status != "active", images)
                )
            writer.writerow(row)
    items, refused = from_file(tmp_path / "p.csv", out.getvalue().encode(), "shopify-products-csv")
    names = ("item_id", "title", "group_id", "price", "in_stock", "blocked", "image_links")
    assert [tuple(item[name] for name in names) for item in items] == wanted and refused == []
