"""Real shapes of catalogue feeds, as public documents and trackers show them; shops, names and numbers are made up.

Each says where it was found, which mapping reads it, and what must come of it: from a file, and by the catalogue stage from a topic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams.stages.money import price_band
from tests.support.item_feeds import Feeds, from_file, mapping_of, record


class Is(NamedTuple):
    """An item that must come out."""

    item_id: str
    title: str
    price: float | None = None
    currency: str | None = None
    group: str | None = None
    in_stock: bool = True
    hidden: bool = False
    more: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Shape(NamedTuple):
    where: str
    reads: str
    data: bytes
    items: tuple[Is, ...] = ()
    refused: tuple[str, ...] = ()


def rss(*items: str, ns: str = 'xmlns:g="http://base.google.com/ns/1.0"', head: str = '<?xml version="1.0"?>\n') -> bytes:
    channel = "<title>Example shop</title><link>https://shop.example</link><description>All products</description>"
    return f'{head}<rss {ns} version="2.0"><channel>{channel}{"".join(f"<item>{item}</item>" for item in items)}</channel></rss>'.encode()


def table(*rows: str, mark: str = "\t") -> bytes:
    return ("\n".join(row.replace("|", mark) for row in rows) + "\n").encode()


def product(**fields: Any) -> dict[str, Any]:
    variants = [
        {"id": 808950810, "product_id": 632910392, "title": "Pink", "price": "199.00", "sku": "POD-PINK", "inventory_policy": "continue", "inventory_management": "shopify", "inventory_quantity": 0, "compare_at_price": None},
        {"id": 49148385, "product_id": 632910392, "title": "Red", "price": "189.50", "sku": "POD-RED", "inventory_policy": "deny", "inventory_management": "shopify", "inventory_quantity": 20},
        {"id": 39072856, "product_id": 632910392, "title": "Green", "price": "179.00", "sku": "POD-GREEN", "inventory_policy": "deny", "inventory_management": "shopify", "inventory_quantity": 0},
        {"id": 457924702, "product_id": 632910392, "title": "Black", "price": "195.00", "sku": "POD-BLACK", "inventory_policy": "deny", "inventory_management": None, "inventory_quantity": -3},
    ]  # fmt: skip
    return {
        "id": 632910392,
        "title": "Pocket Player - 8GB",
        "body_html": "<p>It's the small player with one <b>big</b>&nbsp;idea: Video.</p>",
        "vendor": "Acme",
        "product_type": "Cult Products",
        "status": "active",
        "published_at": "2026-01-01T19:00:00-05:00",
        "updated_at": "2026-02-01T19:00:00-05:00",
        "tags": "Emotive, Flash Memory, MP3, Music",
        "images": [{"src": "https://cdn.shop.example/a.png"}, {"src": "https://cdn.shop.example/b.png"}],
        "variants": variants,
    } | fields


RED = ("808950810", "49148385", "39072856", "457924702")
IMAGES = ["https://cdn.shop.example/a.png", "https://cdn.shop.example/b.png"]
TAGS = ["Emotive", "Flash Memory", "MP3", "Music"]
ABOUT = "It's the small player with one big idea: Video."
POD = {
    "brand": "Acme",
    "category": "Cult Products",
    "tags": TAGS,
    "description": ABOUT,
    "image_links": IMAGES,
    "updated_at": 1_769_990_400_000,
}
SPEC = "https://support.google.com/merchants/answer/7052112"
RSS_DOC = "https://support.google.com/merchants/answer/14987622"
REST_DOC = "https://shopify.dev/docs/api/admin-rest/latest/resources/product"
CSV_DOC = "https://help.shopify.com/en/manual/products/import-export/using-csv"
SALE = "<g:id>{id}</g:id><title>Mug</title><g:price>20.00 USD</g:price><g:sale_price>15.00 USD</g:sale_price>{dates}"
OLD = "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Compare At Price,Image Src,Image Position,Variant Image,Status"
NEW = "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,SKU,Option1 name,Option1 value,Price,Inventory tracker,Inventory quantity,Continue selling when out of stock,Product image URL"
YML = """
source: market-yml
kind: items
format: xml
xml: {elements: offer}
fields: {item: "@id", group: "@group_id", title: [name, model], price: price, currency: currencyId, availability: "@available", category: categoryId, brand: vendor, images: picture, description: description}
html: description
"""
ADDED = """
source: localized
kind: items
fields: {item: key, title: name.en, price: price}
titles: {en: name.en, de: name.de, zh-Hant: name.zh}
"""
GERMAN = """
source: german
kind: items
format: csv
csv: {delimiter: ";"}
encoding: cp1252
number: "1.299,00"
fields: {item: Artikelnummer, title: Bezeichnung, price: Preis, availability: Bestand, state: Status, group: Vater}
words: {yes: [lieferbar, vorrätig], no: [ausverkauft]}
"""
CHINESE = """
source: chinese
kind: items
format: csv
encoding: gbk
fields: {item: 商品编号, title: 商品名称, price: 价格, currency: {value: CNY}, availability: 库存状态}
"""

SHAPES = [
    Shape(RSS_DOC, "google-merchant", rss("<g:id>TV_123456</g:id><g:title>Stick with TV</g:title><g:description>Up to 4K HDR</g:description><g:link>https://shop.example/tv</g:link><g:image_link>https://images.example.com/TV_123456.png</g:image_link><g:condition>new</g:condition><g:availability>in stock</g:availability><g:price>49.99 USD</g:price><g:shipping><g:country>US</g:country><g:service>Standard</g:service><g:price>4.95 USD</g:price></g:shipping><g:gtin>123456789123</g:gtin><g:brand>Google</g:brand><g:product_type>Home &gt; Electronics</g:product_type>"), (Is("TV_123456", "Stick with TV", 49.99, "USD", more={"description": "Up to 4K HDR", "category": "Home > Electronics", "brand": "Google", "image_links": ["https://images.example.com/TV_123456.png"]}),)),
    Shape("https://support.google.com/merchants/answer/160593 (Atom 1.0)", "google-merchant", b'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Example</title><link rel="self" href="https://shop.example"/><updated>2026-11-11T12:00:00Z</updated><entry><g:id>1</g:id><g:title>Ice cream</g:title><g:description>Cold</g:description><g:price>3.5 EUR</g:price><g:availability>out_of_stock</g:availability></entry><entry><id>tag:shop,2</id><title>Cone</title><summary>Crisp</summary><g:price>1 EUR</g:price></entry></feed>', (Is("1", "Ice cream", 3.5, "EUR", in_stock=False), Is("tag:shop,2", "Cone", 1.0, "EUR", more={"description": "Crisp"}))),
    Shape(f"{SPEC} item_group_id: three sizes", "google-merchant", rss(*(f"<g:id>SHIRT-{size}</g:id><g:item_group_id>SHIRT</g:item_group_id><title>Shirt</title><g:size>{size}</g:size><g:price>15.00 USD</g:price>" for size in "SML")), tuple(Is(f"SHIRT-{size}", "Shirt", 15.0, "USD", "SHIRT") for size in "SML")),
    Shape(f"{SPEC} availability", "google-merchant", rss(*(f"<g:id>{n}</g:id><title>t</title><g:availability>{word}</g:availability>" for n, word in enumerate(["in_stock", "out_of_stock", "preorder", "backorder", "In Stock", "maybe"]))), (Is("0", "t"), Is("1", "t", in_stock=False), Is("2", "t"), Is("3", "t"), Is("4", "t")), ("bad_availability",)),
    Shape(f"{SPEC} sale_price_effective_date, before, within, after; without dates; none lower", "google-merchant", rss(SALE.format(id="before", dates="<g:sale_price_effective_date>2026-11-28T11:07:31+0100/2026-11-30T23:07:31+0100</g:sale_price_effective_date>"), SALE.format(id="within", dates="<g:sale_price_effective_date>2026-11-24T11:07+0100/2026-11-30T23:07+0100</g:sale_price_effective_date>"), SALE.format(id="after", dates="<g:sale_price_effective_date>2026-11-01T00:00Z / 2026-11-02T00:00Z</g:sale_price_effective_date>"), SALE.format(id="always", dates=""), SALE.format(id="dearer", dates="").replace("15.00", "25.00"), SALE.format(id="other", dates="").replace("15.00 USD", "15.00 EUR"), SALE.format(id="half", dates="<g:sale_price_effective_date>2026-11-01</g:sale_price_effective_date>")), (Is("before", "Mug", 20.0, "USD"), Is("within", "Mug", 15.0, "USD"), Is("after", "Mug", 20.0, "USD"), Is("always", "Mug", 15.0, "USD"), Is("dearer", "Mug", 20.0, "USD")), ("bad_currency", "bad_time")),
    Shape(f"{SPEC} TSV, names with underscores", "google-merchant-tsv", table("id|title|description|link|condition|price|availability|image_link|additional_image_link|item_group_id|gtin|brand", "A1|Jacket, red|<b>Warm</b>|https://x|new|129.00 GBP|in_stock|https://i.example/1.jpg|https://i.example/2.jpg,https://i.example/3.jpg|A||Acme", "A2|Jacket|Warm|https://x|new|GBP 129.00|out of stock|https://i.example/1.jpg||A||Acme"), (Is("A1", "Jacket, red", 129.0, "GBP", "A", more={"description": "Warm", "image_links": ["https://i.example/1.jpg", "https://i.example/2.jpg", "https://i.example/3.jpg"]}), Is("A2", "Jacket", 129.0, "GBP", "A", in_stock=False))),
    Shape("https://support.google.com/merchants/answer/160567 TSV, names with blanks in capitals, columns of shipping twice", "google-merchant-tsv", table("ID|Title|Price|Sale Price|Image Link|Item Group ID|Product Type|shipping|shipping", 'b-1|"Lamp, 5"" shade"|10 USD|8 USD|https://i.example/x|b|Home > Lamps|US:::5 USD|DE:::9 EUR', "b-2|Lamp|10 USD"), (Is("b-1", 'Lamp, 5" shade', 8.0, "USD", "b", more={"category": "Home > Lamps"}),), ("fewer",)),
    Shape("https://github.com/opencart/opencart/issues/11258 no currency; https://github.com/lukesnowden/google-shopping-feed/issues/12", "google-merchant", rss("<g:id>1</g:id><title>t</title><g:price>10.20</g:price>"), (Is("1", "t", 10.2),)),
    Shape("https://github.com/concretecms-community-store/community_store/pull/798 comma and sign", "google-merchant", rss("<g:id>1</g:id><title>t</title><g:price>12,34 €</g:price>", "<g:id>2</g:id><title>t</title><g:price>12,99 EUR</g:price>", "<g:id>3</g:id><title>t</title><g:price>1.299 EUR</g:price>", "<g:id>4</g:id><title>t</title><g:price>USD12.99</g:price>", "<g:id>5</g:id><title>t</title><g:price>12.99 XQX</g:price>", "<g:id>6</g:id><title>t</title><g:price>free</g:price>"), (Is("4", "t", 12.99, "USD"),), ("bad_price", "bad_price", "bad_price", "bad_currency", "bad_price")),
    Shape("https://github.com/fcpgroton/queue/issues/149 an invisible character; /77 an ampersand and a tag as they are", "google-merchant", rss("<g:id>1</g:id><title>a\x0bb</title>", "<g:id>2</g:id><title>Nuts & bolts</title>", "<g:id>3</g:id><title>over 5 < 6</title>", "<g:id>4</g:id><title><![CDATA[Nuts & bolts <i>new</i>]]></title>", "<g:id>5</g:id><title>a&nbsp;b</title>", "<g:id>6</g:id><title>good</title>"), (Is("4", "Nuts & bolts new"), Is("6", "good")), ("undecodable",) * 4),
    Shape("https://docs.retailrocket.net/docs/retailrocket-guides/product-database/google-merchant-feed/example-google-merchant-feed", "google-merchant", b'<?xml version="1.0"?>\n<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">\n<channel>\n<item>\n<g:id>TV_1</g:id>\n<g:title>Television</g:title>\n<g:availability>in stock</g:availability>\n<g:price>49999 RUB</g:price>\n<g:product_type>Home > Electronics > Televisions</g:product_type>\n<param name="paramName">paramValue</param>\n</item>\n</channel>\n</rss>', (Is("TV_1", "Television", 49999.0, "RUB", more={"category": "Home > Electronics > Televisions"}),)),
    Shape("https://www.w3.org/TR/xml-names/ another prefix, a default namespace, none, two ids", "google-merchant", rss("<b:id>1</b:id><title>prefix</title><media:title xmlns:media='http://search.yahoo.com/mrss/'>no</media:title>", "<id xmlns='http://base.google.com/ns/1.0'>2</id><title>default</title>", "<b:id>1</b:id><title>again</title>", "<title>without id</title>", "<b:id>5</b:id><title> </title>", "<b:id>null</b:id><title>t</title>", ns='xmlns:b="http://base.google.com/ns/1.0"', head="\n  "), (Is("1", "prefix"), Is("2", "default")), ("duplicate_item", "missing_item", "bad_title", "missing_item")),
    Shape("https://yandex.ru/support/partnermarket/export/yml.html (attributes, a mapping of its own)", YML, b'<?xml version="1.0" encoding="windows-1251"?><!DOCTYPE yml_catalog SYSTEM "shops.dtd"><yml_catalog date="2026-11-01"><shop><offers><offer id="12346" available="true" group_id="77"><name>\xd0\xf3\xf7\xea\xe0</name><price>1490</price><currencyId>RUB</currencyId><categoryId>101</categoryId><picture>https://i.example/1.jpg</picture><picture>https://i.example/2.jpg</picture></offer><offer id="12347" available="false"><model>Pen</model><price>5</price></offer></offers></shop></yml_catalog>', (Is("12346", "Ручка", 1490.0, "RUB", "77", more={"image_links": ["https://i.example/1.jpg", "https://i.example/2.jpg"]}), Is("12347", "Pen", 5.0, in_stock=False))),
    Shape(f"{REST_DOC} a list", "shopify-products", json.dumps({"products": [product(), product(id=1, title="")]}).encode(), (Is("632910392", "Pocket Player - 8GB", 189.5, more=POD),), ("bad_title",)),
    Shape(f"{REST_DOC} a webhook products/update; variants", "shopify-variants", json.dumps(product()).encode(), tuple(Is(item, "Pocket Player - 8GB", price, None, "632910392", stock, more=POD) for item, price, stock in zip(RED, (199.0, 189.5, 179.0, 195.0), (True, True, False, True), strict=True))),
    Shape(f"{REST_DOC} status draft and archived, unpublished, without variants", "shopify-products", json.dumps({"products": [product(id=1, status="draft"), product(id=2, status="archived"), product(id=3, published_at=None), product(id=4, variants=[]), product(id=5, status="sleeping")]}).encode(), (Is("1", "Pocket Player - 8GB", 189.5, hidden=True), Is("2", "Pocket Player - 8GB", 189.5, hidden=True), Is("3", "Pocket Player - 8GB", 189.5, hidden=True), Is("4", "Pocket Player - 8GB")), ("bad_availability",)),
    Shape("https://shopify.dev/docs/api/admin-graphql/latest/objects/Product", "shopify-products", json.dumps({"id": "gid://shopify/Product/108828309", "title": "Draft", "descriptionHtml": "", "productType": "Boards", "vendor": "Acme", "status": "ACTIVE", "tags": ["a", "b, c"], "publishedAt": "2026-01-01T00:00:00Z", "variants": {"nodes": [{"id": "gid://shopify/ProductVariant/43729076", "price": "10.00", "inventoryQuantity": 0, "inventoryPolicy": "DENY", "inventoryItem": {"tracked": True}}, {"id": "gid://shopify/ProductVariant/2", "price": "12.00", "inventoryQuantity": 0, "inventoryPolicy": "DENY", "inventoryItem": {"tracked": False}}]}, "featuredImage": {"url": "https://i.example/f.jpg"}}).encode(), (Is("108828309", "Draft", 12.0, more={"image_links": ["https://i.example/f.jpg"], "tags": ["a", "b", "c"], "category": "Boards"}),)),
    Shape("https://shopify.dev/docs/api/ajax/reference/product and a shop's products.json", "shopify-products", json.dumps({"products": [{"id": 9, "title": "Tee", "body_html": None, "vendor": "V", "product_type": "", "tags": ["new"], "variants": [{"id": 91, "price": "20.00", "available": False}, {"id": 92, "price": "22.00", "available": True}], "images": [{"src": "https://i.example/9.jpg"}]}]}).encode(), (Is("9", "Tee", 22.0, more={"tags": ["new"], "brand": "V", "category": None}),)),
    Shape(f"{CSV_DOC} as exported: blank cells continue a handle, a row of a picture alone", "shopify-products-csv", f'{OLD}\nshirt,"Shirt, linen","<p>Cool &amp; light</p>",Acme,Apparel > Shirts,Shirts,"summer, linen",TRUE,Size,S,SH-S,shopify,3,deny,29.00,35.00,https://i.example/1.jpg,1,,active\nshirt,,,,,,,,,M,SH-M,shopify,0,deny,29.00,,https://i.example/2.jpg,2,,\nshirt,,,,,,,,,L,,shopify,0,continue,31.00,,,,https://i.example/l.jpg,\nshirt,,,,,,,,,,,,,,,,https://i.example/3.jpg,3,,\nhat,Hat,,Acme,,Hats,,FALSE,Title,Default Title,,,,deny,9.00,,,,,active\nbag,Bag,,Acme,,Bags,,TRUE,Title,Default Title,BAG,,-2,deny,19.00,,,,,draft\n'.encode(), (Is("SH-S", "Shirt, linen", 29.0, None, "shirt", more={"description": "Cool & light", "category": "Apparel > Shirts", "tags": ["summer", "linen"], "image_links": [f"https://i.example/{n}.jpg" for n in (1, 2, 3)]}), Is("SH-M", "Shirt, linen", 29.0, None, "shirt", in_stock=False), Is("shirt/L", "Shirt, linen", 31.0, None, "shirt", more={"image_links": [f"https://i.example/{n}.jpg" for n in ("l", 1, 2, 3)]}), Is("hat/Default Title", "Hat", 9.0, None, "hat", hidden=True), Is("BAG", "Bag", 19.0, None, "bag", hidden=True))),
    Shape("https://help.shopify.com/en/manual/products/import-export/using-csv (template of 2024)", "shopify-products-csv", f'{NEW}\nRing,ring,Gold,Acme,Apparel > Rings,Rings,a,TRUE,Active,R-6,Size,6,1200.00,shopify,0,TRUE,https://i.example/r.jpg\n,ring,,,,,,,,R-7,,7,1250.00,shopify,0,FALSE,\n,lost,,,,,,,,L-1,,,5.00,,,,\n'.encode(), (Is("R-6", "Ring", 1200.0, None, "ring", more={"category": "Apparel > Rings"}), Is("R-7", "Ring", 1250.0, None, "ring", in_stock=False)), ("bad_title",)),
    Shape("https://docs.commercetools.com/api/projects/products (localized strings)", ADDED, b'{"key": "p1", "name": {"en": "Chair", "de": "Stuhl", "zh": "\xe6\xa4\x85\xe5\xad\x90"}, "price": 5}\n{"key": "p2", "name": {"de": "Tisch"}}\n{"key": "p3", "name": {}}\n', (Is("p1", "Chair", 5.0, more={"titles": {"en": "Chair", "de": "Stuhl", "zh-hant": "椅子"}}), Is("p2", "Tisch", more={"titles": {"de": "Tisch"}})), ("bad_title",)),
    Shape("no document: a German export as spreadsheets write it (semicolons, cp1252, 1.299,00)", GERMAN, "Artikelnummer;Bezeichnung;Preis;Bestand;Status;Vater\n100;Küchenwaage;1.299,00 €;lieferbar;active;\n101;Öl;12,99 EUR;ausverkauft;active;V1\n102;Teller;1,299.00;vorrätig;active;V1\n".encode("cp1252"), (Is("100", "Küchenwaage", 1299.0), Is("101", "Öl", 12.99, "EUR", "V1", in_stock=False)), ("bad_price",)),
    Shape("no document: a Chinese export as spreadsheets write it (GBK, 有货, 缺货)", CHINESE, "商品编号,商品名称,价格,库存状态\n1,羽绒服，红色,199.00,有货\n2,围巾,29.5,缺货\n3,手套,9,不知道\n".encode("gbk"), (Is("1", "羽绒服，红色", 199.0, "CNY"), Is("2", "围巾", 29.5, "CNY", in_stock=False)), ("bad_availability",)),
    Shape("https://schema.org/ItemAvailability", "google-merchant", rss(*(f"<g:id>{n}</g:id><title>t</title><g:availability>{word}</g:availability>" for n, word in enumerate(["http://schema.org/InStock", "https://schema.org/OutOfStock", "https://schema.org/PreOrder", "https://schema.org/Discontinued"]))), (Is("0", "t"), Is("1", "t", in_stock=False), Is("2", "t"), Is("3", "t", in_stock=False))),
    Shape("https://www.w3.org/TR/xml/#sec-lang-tag (titles with xml:lang)", "\n".join(["source: s", "kind: items", "format: xml", "fields: {item: id, title: title}", "titles: {de: title@de, en: title@en}"]), b"<a><item><id>1</id><title xml:lang='de'>Hut</title><title xml:lang='en'>Hat</title></item></a>", (Is("1", "Hut", more={"titles": {"de": "Hut", "en": "Hat"}}),)),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.where.removeprefix("https://")[:60])
def test_a_shape_from_a_file(shape: Shape, tmp_path: Path) -> None:
    items, refused = from_file(tmp_path / "feed", shape.data, shape.reads)
    assert sorted(reason.partition(":")[0].split()[0] for reason in refused) == sorted(shape.refused)
    assert [item["item_id"] for item in items] == [wanted.item_id for wanted in shape.items]
    for item, wanted in zip(items, shape.items, strict=True):
        assert (item["title"], item["price"], item["currency"], item["group_id"]) == (
            wanted.title,
            wanted.price,
            wanted.currency,
            wanted.group,
        )
        assert (item["in_stock"], item["blocked"]) == (wanted.in_stock, wanted.hidden)
        assert {name: item[name] for name in wanted.more} == wanted.more


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.where.removeprefix("https://")[:60])
def test_the_same_shape_from_a_topic(shape: Shape) -> None:
    """Lines of JSON are records of their own; all else is one record."""
    mapping = mapping_of(shape.reads)
    feeds = Feeds(mapping)
    parts = shape.data.splitlines() if mapping.form == "json" else [shape.data]
    feeds.run([record(part, f"k{n}".encode(), source=mapping.name, offset=n) for n, part in enumerate(parts)])
    found = feeds.catalogue
    assert set(found) == {wanted.item_id for wanted in shape.items}
    for wanted in shape.items:
        value = found[wanted.item_id]
        assert value["group_id"] == wanted.group
        assert value["recommendable"] == (wanted.in_stock and not wanted.hidden)
        assert value["price_band"] == (None if wanted.price is None else price_band(wanted.price))
    assert sorted(letter["reason"] for letter in feeds.letters) == sorted("bad_shape" if one == "fewer" else one for one in shape.refused)
