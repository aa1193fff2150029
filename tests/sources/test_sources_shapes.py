"""Real shapes of events, as public documents and trackers of other systems show them; ids and names of people are made up.

Each says where it was found, which mapping reads it, and what must come of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from streams.errors import Reason
from streams.stages.money import price_band
from tests.support.ingest_harness import NOW, feed

T = 1_795_755_600  # 2026-11-27T05:00:00Z
AT = "2026-11-27T05:00:00"


class Is(NamedTuple):
    """An event that must come out."""

    user: str
    kind: str
    about: str
    """The item, or the query."""
    quantity: int = 1
    price: float | None = None
    at_ms: int = NOW


class Shape(NamedTuple):
    where: str
    """The document or tracker."""
    reads: str
    """A preset, or the text of a mapping."""
    value: Any
    events: tuple[Is, ...] = ()
    refused: tuple[str, ...] = ()


def params(**values: str | int) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"int_value" if isinstance(value, int) else "string_value": value}} for key, value in values.items()]


def ga4(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_date": "20261127",
        "event_timestamp": str(T * 10**6),
        "event_name": name,
        "event_bundle_sequence_id": "12",
        "user_pseudo_id": "1234567890.1795755600",
        "event_params": params(ga_session_id=1795755000, currency="USD"),
        "geo": {"country": "Germany"},
        "items": [],
    } | fields


def segment(event: str, properties: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "messageId": "ajs-next-1",
        "userId": "019mr8mf4r",
        "anonymousId": "23adfd82-aa0f-45a7-a756-24f2a7a4c895",
        "timestamp": f"{AT}.000Z",
        "properties": properties,
        "context": {"locale": "en-US", "userAgent": "Mozilla/5.0"},
    } | fields


PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"


def snowplow(action: str, *products: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
        "event": "unstruct",
        "event_name": "snowplow_ecommerce_action",
        "user_id": None,
        "domain_userid": "bc2e92ec6c204a14",
        "derived_tstamp": f"{AT}.000Z",
        ACTION: {"type": action},
        PRODUCT: list(products),
    } | fields


def pixel(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "sh-1",
        "clientId": "7f2e5d4c-client",
        "name": name,
        "timestamp": f"{AT}.000Z",
        "data": data,
        "context": {"navigator": {"userAgent": "Mozilla/5.0"}},
    }


VARIANT = {"id": "45737128657113", "product": {"id": "8950526378201"}, "price": {"amount": 19.5, "currencyCode": "EUR"}}
GA4, MP, SEG, SNOW = "ga4-bigquery", "ga4-measurement-protocol", "segment", "snowplow-ecommerce"
PSEUDO, DEVICE = "anonymous:1234567890.1795755600", "anonymous:bc2e92ec6c204a14"
GA4_DOC = "https://support.google.com/analytics/answer/7029846"
GA4_EVENTS = "https://developers.google.com/analytics/devguides/collection/ga4/reference/events"
MP_DOC = "https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference/events"
SEG_DOC = "https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2"
RUDDER_DOC = "https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/ordering/"
SNOW_DOC = "https://docs.snowplow.io/docs/sources/web-trackers/tracking-events/ecommerce/"
PIXEL_DOC = "https://shopify.dev/docs/api/web-pixels-api/standard-events"
ORDER_DOC = "https://shopify.dev/docs/api/admin-rest/latest/resources/order"

WOO = """
source: woocommerce
lines: line_items
line_id: line.id
fields: {type: {value: purchase}, user: customer_id, event_id: id, time: date_created_gmt, item: line.product_id, quantity: line.quantity, price: line.price,
  currency: currency}
"""
MAGENTO = """
source: magento
lines: items
line_id: line.item_id
fields: {type: {value: purchase}, user: customer_id, event_id: increment_id, time: created_at, item: line.sku, quantity: line.qty_ordered,
  price: line.price, currency: order_currency_code}
"""
VERTEX = """
source: vertex
lines: productDetails
types: {detail-page-view: view, add-to-cart: cart, purchase-complete: purchase, search: search}
fields: {type: eventType, user: [userInfo.userId, visitorId], time: eventTime, item: line.product.id, quantity: line.quantity, query: searchQuery}
"""
META = """
source: meta
split: data
lines: custom_data.contents
types: {ViewContent: view, AddToCart: cart, AddToWishlist: wishlist, Purchase: purchase, Search: search}
fields: {type: event_name, user: user_data.external_id, event_id: event_id, time: event_time, item: line.id, quantity: line.quantity,
  price: line.item_price, currency: custom_data.currency, query: custom_data.search_string}
"""
ALGOLIA = """
source: algolia
split: events
lines: objectIDs
types: {click: click, view: impression, conversion: purchase}
fields: {type: eventType, user: [authenticatedUserToken, userToken], time: timestamp, item: line}
"""
MIXPANEL = """
source: mixpanel
types: {Product Viewed: view}
other_types: skip
fields: {type: event, user: [properties.$user_id, properties.distinct_id], event_id: properties.$insert_id, time: properties.time,
  item: properties.product_id}
"""
AMPLITUDE = """
source: amplitude
types: {Product Added: cart}
fields: {type: event_type, user: [user_id, device_id], event_id: uuid, time: event_time, item: event_properties.productId,
  quantity: event_properties.quantity}
"""
POSTHOG = """
source: posthog
types: {Products Searched: search, Product Added to Wishlist: wishlist}
other_types: skip
fields: {type: event, user: distinct_id, event_id: uuid, time: timestamp, query: properties.query, item: properties.product_id}
"""
MPARTICLE = """
source: mparticle
split: events
lines: data.product_action.products
types: {add_to_cart: cart, purchase: purchase, view_detail: view}
other_types: skip
fields: {type: data.product_action.action, user: [batch.user_identities.customer_id, batch.mpid], time: data.timestamp_unixtime_ms, item: line.id,
  quantity: line.quantity, price: line.price}
"""
MATOMO = """
source: matomo
lines: actionDetails
types: {ecommerceOrder: skip, action: view}
other_types: skip
fields: {type: line.type, user: [userId, visitorId], time: line.timestamp, item: line.productViewSku}
"""
DEBEZIUM = """
source: debezium
types: {c: purchase, u: skip}
fields: {type: payload.op, user: payload.after.customer_id, event_id: payload.after.id, time: payload.after.created_at, item: payload.after.sku,
  quantity: payload.after.qty, price: payload.after.price}
"""
JMES = """
source: tealium
fields:
  type: {value: view}
  user: {jmespath: "data.udo.customer_id || visitor.anonymous_id"}
  item: {jmespath: "data.udo.product_id[0]"}
  price: {jmespath: "data.udo.product_price[0]"}
number: "1299.00"
time: {unit: ms}
"""
KLAVIYO = """
source: klaviyo
lines: data.attributes.properties.Items
types: {Placed Order: purchase}
fields: {type: data.attributes.metric.data.attributes.name, user: data.attributes.profile.data.attributes.external_id, time: data.attributes.time,
  event_id: data.attributes.unique_id, item: line.ProductID, quantity: line.Quantity, price: line.ItemPrice}
"""


def csv_mapping(name: str, columns: str, fields: str, more: str = "", delimiter: str = ",") -> str:
    return f'source: {name}\nformat: csv\ncsv: {{delimiter: "{delimiter}", columns: [{columns}]}}\nfields: {{{fields}}}\n{more}\n'


REES46 = csv_mapping(
    "rees46",
    "event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session",
    "type: event_type, user: user_id, time: event_time, item: product_id, price: price, session: user_session",
)
DIGINETICA = csv_mapping(
    "diginetica",
    "sessionId, userId, itemId, timeframe, eventdate",
    "type: {value: view}, user: [userId, sessionId], time: eventdate, item: itemId",
    delimiter=";",
)
YOOCHOOSE = csv_mapping("yoochoose", "s, t, i, c", "type: {value: click}, user: s, time: t, item: i")
PERSONALIZE = csv_mapping(
    "personalize", "USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE", "type: EVENT_TYPE, user: USER_ID, item: ITEM_ID, time: TIMESTAMP"
)
TMALL = csv_mapping(
    "tmall",
    "user_id, item_id, behavior_type, user_geohash, item_category, time",
    "type: behavior_type, user: user_id, item: item_id, time: time",
    'types: {1: view, 2: wishlist, 3: cart, 4: purchase}\ntime: {format: "%Y-%m-%d %H", zone: Asia/Shanghai}',
)
EUROPE = csv_mapping(
    "europe",
    "Datum, Kunde, Artikel, Menge, Preis",
    "type: {value: purchase}, user: Kunde, item: Artikel, time: Datum, quantity: Menge, price: Preis",
    'number: "1.299,00"\nencoding: cp1252\ntime: {format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}',
    delimiter=";",
)
CHINA = csv_mapping(
    "china",
    "用户, 商品, 行为, 时间",
    "type: 行为, user: 用户, item: 商品, time: 时间",
    "types: {浏览: view, 收藏: wishlist, 加购: cart, 购买: purchase}\nencoding: gbk\ntime: {zone: Asia/Shanghai}",
    delimiter="tab",
)

SHAPES = [
    Shape(GA4_DOC, GA4, ga4("view_item", items=[{"item_id": "GGOEGAAX0104", "price": 20.8, "quantity": None}]), (Is(PSEUDO, "view", "GGOEGAAX0104", 1, 20.8),)),
    Shape(GA4_DOC, GA4, ga4("add_to_cart", user_id="u-77", items=[{"item_id": 9180757, "quantity": "3", "price": "10.5"}]), (Is("u-77", "cart", "9180757", 3, 10.5),)),
    Shape(
        GA4_EVENTS + "#purchase",
        GA4,
        ga4("purchase", ecommerce={"transaction_id": "(not set)"}, items=[{"item_id": "SKU_1", "quantity": 1, "price": 9.99}, {"item_id": "(not set)"}]),
        (Is(PSEUDO, "purchase", "SKU_1", 1, 9.99),),
        (Reason.MISSING_ITEM,),
    ),
    Shape(GA4_EVENTS + "#search", GA4, ga4("view_search_results", event_params=params(search_term="T-Shirts"), items=[{"item_id": "A"}, {"item_id": "B"}]), (Is(PSEUDO, "search", "T-Shirts"),)),
    Shape(GA4_EVENTS + "#refund", GA4, ga4("refund", items=[{"item_id": "SKU_1", "quantity": 2}]), (Is(PSEUDO, "return", "SKU_1", 2),)),
    Shape(GA4_EVENTS + "#view_item_list", GA4, ga4("view_item_list", items=[{"item_id": "A", "item_list_index": "0"}, {"item_id": "B", "item_list_index": "1"}]), (Is(PSEUDO, "impression", "A"), Is(PSEUDO, "impression", "B"))),
    Shape("https://support.google.com/analytics/answer/9234069", GA4, ga4("session_start")),
    Shape("https://adriennevermorel.com/notes/ga4-consent-mode-orphaned-events/", GA4, ga4("view_item", user_pseudo_id=None, items=[{"item_id": "A"}]), (), (Reason.NOBODY,)),
    Shape(
        MP_DOC + "#add_to_cart",
        MP,
        {"client_id": "x.1", "timestamp_micros": T * 10**6, "events": [{"name": "add_to_cart", "params": {"currency": "USD", "value": 30.03, "items": [{"item_id": "SKU_12345", "price": 10.01, "quantity": 3}]}}]},
        (Is("anonymous:x.1", "cart", "SKU_12345", 3, 10.01),),
    ),
    Shape(
        MP_DOC + "#purchase",
        MP,
        {
            "client_id": "x.1",
            "user_id": "42",
            "timestamp_micros": str(T * 10**6),
            "events": [
                {"name": "purchase", "params": {"transaction_id": "T_1", "items": [{"item_id": "A", "quantity": 1}, {"item_id": "B", "quantity": 2}]}},
                {"name": "page_view", "params": {}},
                {"name": "search", "params": {"search_term": "boots"}},
            ],
        },
        (Is("42", "purchase", "A"), Is("42", "purchase", "B", 2), Is("42", "search", "boots")),
    ),
    Shape("https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference", MP, {"client_id": "x.1", "events": []}),
    Shape(SEG_DOC + "#product-viewed", SEG, segment("Product Viewed", {"product_id": "507f1f77bcf86cd799439011", "sku": "G-32", "price": 18.99, "quantity": 1, "currency": "usd", "position": 3}), (Is("019mr8mf4r", "view", "507f1f77bcf86cd799439011", 1, 18.99),)),
    Shape(
        SEG_DOC + "#order-completed",
        SEG,
        segment("Order Completed", {"order_id": "50314b8e9bcf000000000000", "currency": "USD", "products": [{"product_id": "A1", "price": 19, "quantity": 1}, {"product_id": "B2", "price": "3.00", "quantity": "2"}]}),
        (Is("019mr8mf4r", "purchase", "A1", 1, 19.0), Is("019mr8mf4r", "purchase", "B2", 2, 3.0)),
    ),
    Shape(SEG_DOC + "#products-searched", SEG, segment("Products Searched", {"query": "blue hotpants"}), (Is("019mr8mf4r", "search", "blue hotpants"),)),
    Shape(SEG_DOC + "#product-added-to-wishlist", SEG, segment("Product Added to Wishlist", {"wishlist_id": "s", "product_id": "A1"}), (Is("019mr8mf4r", "wishlist", "A1"),)),
    Shape("https://segment.com/docs/connections/spec/identify/", SEG, {"type": "identify", "userId": "1", "traits": {"email": "peter@example.com"}}),
    Shape("https://gist.github.com/Sinetheta/7bae0a549cd3e635cb6420b9252b5e18 (decimals as text)", SEG, segment("Completed Order", {"products": [{"product_id": "12", "price": "19.99", "quantity": "1"}]}), (Is("019mr8mf4r", "purchase", "12", 1, 19.99),)),
    Shape("https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#batch", SEG, {"batch": [segment("Product Added", {"product_id": "A1", "quantity": 2}), {"type": "page", "userId": "1"}]}, (Is("019mr8mf4r", "cart", "A1", 2),)),
    Shape(RUDDER_DOC + "#product-clicked", SEG, segment("Product Clicked", {"product_id": "622c6f5d5cf86a4c77358033", "price": 49.99, "quantity": 5}, userId=""), (Is("anonymous:23adfd82-aa0f-45a7-a756-24f2a7a4c895", "click", "622c6f5d5cf86a4c77358033", 1, 49.99),)),
    Shape("https://github.com/littledata/shopify-tracker/issues/425", SEG, segment("Product Viewed", {"product_id": "A1"}, userId="none"), (Is("anonymous:23adfd82-aa0f-45a7-a756-24f2a7a4c895", "view", "A1"),)),
    Shape("https://github.com/segmentio/analytics-android/issues/169", SEG, segment("Product Viewed", {"product_id": "A1"}, userId="null", anonymousId=None), (), (Reason.NOBODY,)),
    Shape(SNOW_DOC + "#add-to-cart", SNOW, snowplow("add_to_cart", {"id": "P125", "name": "Baseball T", "price": 200, "currency": "USD", "quantity": 2}), (Is(DEVICE, "cart", "P125", 2, 200.0),)),
    Shape(SNOW_DOC + "#transaction", SNOW, snowplow("transaction", {"id": "P1", "price": 0, "quantity": 1}, {"id": "P2", "price": 5.5, "quantity": 4}, user_id="jon.doe"), (Is("jon.doe", "purchase", "P1", 1, 0.0), Is("jon.doe", "purchase", "P2", 4, 5.5))),
    Shape(SNOW_DOC + "#product-list-view", SNOW, snowplow("list_view", {"id": "P1", "position": 1}, {"id": "P2", "position": 2}), (Is(DEVICE, "impression", "P1"), Is(DEVICE, "impression", "P2"))),
    Shape("https://docs.snowplow.io/docs/sources/web-trackers/tracking-events/site-search/", SNOW, snowplow("x") | {ACTION: None, "event_name": "site_search", "unstruct_event_com_snowplowanalytics_snowplow_site_search_1": {"terms": ["unified", "log"]}}, (Is(DEVICE, "search", "unified log"),)),
    Shape("https://docs.snowplow.io/docs/events/ootb-data/page-activity-tracking/", SNOW, {"event": "page_ping", "event_name": "page_ping", "domain_userid": DEVICE}),
    Shape(ORDER_DOC, "shopify-orders", {"id": 450789469, "customer": {"id": 207119551}, "created_at": "2026-11-27T00:00:00-05:00", "line_items": [{"id": 1, "product_id": 632910392, "quantity": 1, "price": "199.00"}]}, (Is("207119551", "purchase", "632910392", 1, 199.0),)),
    Shape(ORDER_DOC + "#get-orders", "shopify-orders", {"orders": [{"id": 1, "customer": {"id": 5}, "created_at": f"{AT}Z", "line_items": [{"id": 2, "product_id": 3, "quantity": 2, "price": "1.50"}]}, {"id": 2, "customer": None, "line_items": [{"id": 3, "product_id": 3, "quantity": 1, "price": "1.50"}]}]}, (Is("5", "purchase", "3", 2, 1.5),), (Reason.NOBODY,)),
    Shape("https://shopify.dev/docs/api/usage/gids", "shopify-orders", {"id": "gid://shopify/Order/9", "customer": {"id": "gid://shopify/Customer/5"}, "created_at": f"{AT}Z", "line_items": [{"id": 2, "product_id": "gid://shopify/Product/3", "quantity": 1, "price": "1.50"}]}, (Is("5", "purchase", "3", 1, 1.5),)),
    Shape(PIXEL_DOC + "/product_viewed", "shopify-pixel", pixel("product_viewed", {"productVariant": VARIANT}), (Is("anonymous:7f2e5d4c-client", "view", "8950526378201", 1, 19.5),)),
    Shape(PIXEL_DOC + "/product_added_to_cart", "shopify-pixel", pixel("product_added_to_cart", {"cartLine": {"merchandise": VARIANT, "quantity": 2}}), (Is("anonymous:7f2e5d4c-client", "cart", "8950526378201", 2, 19.5),)),
    Shape(PIXEL_DOC + "/checkout_completed", "shopify-pixel", pixel("checkout_completed", {"checkout": {"order": {"id": "1"}, "lineItems": [{"quantity": 1, "variant": VARIANT}, {"quantity": 3, "variant": VARIANT}]}}), (Is("anonymous:7f2e5d4c-client", "purchase", "8950526378201", 1, 19.5), Is("anonymous:7f2e5d4c-client", "purchase", "8950526378201", 3, 19.5))),
    Shape(PIXEL_DOC + "/search_submitted", "shopify-pixel", pixel("search_submitted", {"searchResult": {"query": "snowboard", "productVariants": [VARIANT]}}), (Is("anonymous:7f2e5d4c-client", "search", "snowboard"),)),
    Shape(PIXEL_DOC + "/collection_viewed", "shopify-pixel", pixel("collection_viewed", {"collection": {"id": "1", "productVariants": [VARIANT, VARIANT]}}), (Is("anonymous:7f2e5d4c-client", "impression", "8950526378201", 1, 19.5),) * 2),
    Shape("https://tianchi.aliyun.com/dataset/649", "taobao-userbehavior", b"1,2268318,2520377,pv,1511544070", (Is("1", "view", "2268318", at_ms=1_511_544_070_000),)),
    Shape("https://tianchi.aliyun.com/dataset/649 (fav)", "taobao-userbehavior", b"100,2951368,1080785,fav,1512221302\r\n", (Is("100", "wishlist", "2951368", at_ms=1_512_221_302_000),)),
    Shape("https://tianchi.aliyun.com/dataset/46", TMALL, b"98047837,232431562,1,,4245,2014-12-06 02", (Is("98047837", "view", "232431562", at_ms=1_417_802_400_000),)),
    Shape("https://www.kaggle.com/datasets/mkechinov/ecommerce-behavior-data-from-multi-category-store", REES46, b"2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde-8bb3-4e00-8c23-a032dfed738c", (Is("541312140", "view", "44600062", 1, 35.79, 1_569_888_000_000),)),
    Shape("https://competitions.codalab.org/competitions/11161 (Diginetica)", DIGINETICA, b"1;;81766;526309;2016-05-09", (Is("1", "view", "81766", at_ms=1_462_752_000_000),)),
    Shape("https://www.kaggle.com/datasets/chadgostopp/recsys-challenge-2015", YOOCHOOSE, b"9,2014-04-06T11:26:24.127Z,214576500,0", (Is("9", "click", "214576500", at_ms=1_396_783_584_127),)),
    Shape("https://docs.aws.amazon.com/personalize/latest/dg/interactions-datasets.html", PERSONALIZE, b"35,73,1586731606,Click", (Is("35", "click", "73", at_ms=1_586_731_606_000),)),
    Shape("https://woocommerce.github.io/woocommerce-rest-api-docs/#orders", WOO, {"id": 727, "customer_id": 26, "date_created_gmt": AT, "currency": "USD", "line_items": [{"id": 315, "product_id": 93, "quantity": 2, "price": 3}]}, (Is("26", "purchase", "93", 2, 3.0),)),
    Shape("https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties (guests have customer_id 0)", WOO, {"id": 728, "customer_id": 0, "date_created_gmt": AT, "line_items": [{"id": 1, "product_id": 93, "quantity": 1}]}, (), (Reason.NOBODY,)),
    Shape("https://developer.adobe.com/commerce/webapi/rest/tutorials/orders/", MAGENTO, {"increment_id": "000000001", "customer_id": 2, "created_at": "2026-11-27 05:00:00", "order_currency_code": "USD", "items": [{"item_id": 9, "sku": "WS12-M-Orange", "qty_ordered": 1, "price": 22}]}, (Is("2", "purchase", "WS12-M-Orange", 1, 22.0),)),
    Shape("https://github.com/mollie/magento2/issues/766", MAGENTO, {"increment_id": "2", "customer_id": 2, "created_at": "2026-11-27 05:00:00", "items": [{"item_id": 9, "sku": "A", "qty_ordered": 0.3}, {"item_id": 10, "sku": "B", "qty_ordered": 1}]}, (Is("2", "purchase", "B"),), (Reason.BAD_QUANTITY,)),
    Shape("https://github.com/woocommerce/woocommerce/issues/46695", WOO, {"id": 13, "customer_id": 4, "date_created_gmt": AT, "line_items": [{"id": 1, "product_id": 7, "quantity": 3, "price": 10.647540983606557}]}, (Is("4", "purchase", "7", 3, 10.647540983606557),)),
    Shape("https://github.com/woocommerce/woocommerce-rest-api/issues/240", WOO, {"id": 3439, "customer_id": 1, "currency": "HRK", "date_created_gmt": "2020-08-13T09:43:25", "customer_ip_address": "::ffff:21.112.72.22", "line_items": [{"id": 9, "product_id": 5, "quantity": 1, "price": 43.8}]}, (Is("1", "purchase", "5", 1, 43.8, 1_597_311_805_000),)),
    Shape("https://github.com/rudderlabs/rudder-sdk-js/issues/201", SEG, segment("Product Viewed", {"product_id": "A1"}, userId="", anonymousId="9d1f"), (Is("anonymous:9d1f", "view", "A1"),)),
    Shape("https://github.com/segmentio/analytics-next/issues/916", SEG, segment("Product Viewed", {"product_id": "A1"}, userId=None, anonymousId="123"), (Is("anonymous:123", "view", "A1"),)),
    Shape("https://cloud.google.com/retail/docs/user-events", VERTEX, {"eventType": "detail-page-view", "visitorId": "visitor0", "eventTime": "2026-11-27T05:00:00.123456Z", "productDetails": [{"product": {"id": "123"}}]}, (Is("visitor0", "view", "123", at_ms=NOW + 123),)),
    Shape("https://cloud.google.com/retail/docs/user-events#purchase-complete", VERTEX, {"eventType": "purchase-complete", "visitorId": "v", "userInfo": {"userId": "u1"}, "eventTime": f"{AT}Z", "productDetails": [{"product": {"id": "1"}, "quantity": 3}, {"product": {"id": "2"}}]}, (Is("u1", "purchase", "1", 3), Is("u1", "purchase", "2"))),
    Shape("https://developers.facebook.com/docs/marketing-api/conversions-api/using-the-api", META, {"data": [{"event_name": "Purchase", "event_time": T, "event_id": "e1", "user_data": {"external_id": "c-1"}, "custom_data": {"currency": "usd", "contents": [{"id": "product123", "quantity": 1, "item_price": 10.5}]}}]}, (Is("c-1", "purchase", "product123", 1, 10.5),)),
    Shape("https://www.algolia.com/doc/rest-api/insights/", ALGOLIA, {"events": [{"eventType": "click", "eventName": "Product Clicked", "index": "products", "userToken": "anonymous-user-1", "timestamp": NOW, "objectIDs": ["9780545139700", "9780439784542"]}]}, (Is("anonymous-user-1", "click", "9780545139700"), Is("anonymous-user-1", "click", "9780439784542"))),
    Shape("https://developer.mixpanel.com/reference/raw-event-export", MIXPANEL, {"event": "Product Viewed", "properties": {"time": T, "distinct_id": "13b20239a29335", "$insert_id": "i1", "product_id": 41}}, (Is("13b20239a29335", "view", "41"),)),
    Shape("https://amplitude.com/docs/apis/analytics/export", AMPLITUDE, {"event_type": "Product Added", "user_id": None, "device_id": "d-1", "uuid": "u", "event_time": "2026-11-27 05:00:00.000000", "event_properties": {"productId": "A", "quantity": 1}}, (Is("d-1", "cart", "A"),)),
    Shape("https://posthog.com/docs/data/event-spec/ecommerce-events", POSTHOG, {"event": "Products Searched", "uuid": "u", "distinct_id": "018f", "timestamp": "2026-11-27T06:00:00+01:00", "properties": {"query": "ＩＰＨＯＮＥ case"}}, (Is("018f", "search", "IPHONE case"),)),
    Shape("https://posthog.com/docs/data/events (autocapture)", POSTHOG, {"event": "$autocapture", "distinct_id": "018f", "properties": {}}),
    Shape("https://docs.mparticle.com/developers/apis/json-reference/", MPARTICLE, {"mpid": "600", "user_identities": {"customer_id": "c9"}, "events": [{"event_type": "commerce_event", "data": {"timestamp_unixtime_ms": NOW, "product_action": {"action": "purchase", "products": [{"id": "X", "quantity": 1, "price": 9.5}]}}}]}, (Is("c9", "purchase", "X", 1, 9.5),)),
    Shape("https://developer.matomo.org/api-reference/reporting-api#Live", MATOMO, {"visitorId": "a1b2c3", "userId": None, "actionDetails": [{"type": "action", "timestamp": T, "productViewSku": "SKU9"}, {"type": "ecommerceOrder", "timestamp": T}, {"type": "search", "timestamp": T}]}, (Is("a1b2c3", "view", "SKU9"),)),
    Shape("https://debezium.io/documentation/reference/stable/connectors/mysql.html", DEBEZIUM, {"payload": {"op": "c", "after": {"id": 10001, "customer_id": 1001, "sku": 102, "qty": 1, "price": "12.50", "created_at": T * 10**6}, "ts_ms": NOW}}, (Is("1001", "purchase", "102", 1, 12.5),)),
    Shape("https://docs.tealium.com/platforms/shopify/data-layer-and-events/", JMES, {"data": {"udo": {"customer_id": "", "product_id": ["P1", "P2"], "product_price": ["12.500"]}}, "visitor": {"anonymous_id": "t-9"}}, (Is("t-9", "view", "P1", 1, 12.5),)),
    Shape(
        "https://developers.klaviyo.com/en/docs/guide_to_integrating_a_platform_without_a_pre_built_klaviyo_integration",
        KLAVIYO,
        {"data": {"attributes": {"metric": {"data": {"attributes": {"name": "Placed Order"}}}, "profile": {"data": {"attributes": {"external_id": "66"}}}, "time": f"{AT}+00:00", "unique_id": "d47", "properties": {"Items": [{"ProductID": "1111", "Quantity": 1, "ItemPrice": 9.99}]}}}},
        (Is("66", "purchase", "1111", 1, 9.99),),
    ),
    Shape("https://en.wikipedia.org/wiki/Decimal_separator#Examples_of_use", EUROPE, "27.11.2026 06:00;Kunde-7;Köln-1;2;1.299,00".encode("cp1252"), (Is("Kunde-7", "purchase", "Köln-1", 2, 1299.0),)),
    Shape("https://github.com/magento/magento2/issues/25650", EUROPE, b"27.11.2026 06:00;Kunde-7;K-1;0,5;3,20", (), (Reason.BAD_QUANTITY,)),
    Shape("https://en.wikipedia.org/wiki/GBK_(character_encoding)", CHINA, "用户甲\t商品一\t收藏\t2026年11月27日 13:00".encode("gbk"), (Is("用户甲", "wishlist", "商品一"),)),
]  # fmt: skip


def test_there_are_enough() -> None:
    assert len(SHAPES) >= 40
    assert all(shape.where.startswith("https://") for shape in SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.where.removeprefix("https://")[:70])
def test_shape(shape: Shape) -> None:
    is_preset = "\n" not in shape.reads
    found = feed(shape.value, source=shape.reads) if is_preset else feed(shape.value, mapping=shape.reads)
    assert tuple(letter["reason"] for letter in found.letters) == shape.refused
    assert len(found.events) == len(shape.events)
    for event, user, wanted in zip(found.events, found.users, shape.events, strict=True):
        assert (user, event["event_type"], event["item_id"] or event["query"]) == wanted[:3]
        assert event["quantity"] == wanted.quantity
        assert event["price_band"] == (None if wanted.price is None else price_band(wanted.price))
        assert event["occurred_at"] == wanted.at_ms // 60_000 * 60_000
    assert len({event["event_id"] for event in found.events}) == len(found.events)
    personal = [user.encode() for user in found.users]
    for output in found.result.outputs:
        assert not any(name in output.value for name in personal if len(name) > 6)  # type: ignore[operator]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.events], ids=lambda shape: shape.where.removeprefix("https://")[:70])
def test_a_repeat_is_the_same_event(shape: Shape) -> None:
    is_preset = "\n" not in shape.reads
    first, second = (feed(shape.value, source=shape.reads) if is_preset else feed(shape.value, mapping=shape.reads) for _ in range(2))
    assert [event["event_id"] for event in first.events] == [event["event_id"] for event in second.events]
