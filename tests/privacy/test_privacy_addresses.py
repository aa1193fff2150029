"""E-mail, IP and web addresses, each by itself."""

from __future__ import annotations

import pytest

from streams.privacy.addresses import replace_emails, replace_ips, replace_urls


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("anna@example.com", "<email>"),
        ("mail anna.b+c@sub.example.co.uk.", "mail <email>."),
        ("邮箱zhang.san@qq.com谢谢", "邮箱<email>谢谢"),
        ("anna @ example.com", "<email>"),
        ("anna@intranet", "<email>"),
        ("anna@[10.0.0.1]", "<email>"),
        ("anna@xn--fiqs8s.xn--fiqs8s", "<email>"),
        ("jürgen@bücher.de", "<email>"),
        ("a@b.com b@c.com", "<email> <email>"),
        ("a@b@c.com", "a@<email>"),
        ("4k@60hz", "4k@60hz"),
        ("3@2.50", "3@2.50"),
        ("@brand", "@brand"),
        ("shoes @ 20 euro", "shoes @ 20 euro"),
        ("@", "@"),
    ],
)
def test_emails(text: str, wanted: str) -> None:
    assert replace_emails(text).rstrip(".") == wanted.rstrip(".")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.1", "<ip>"),
        ("ip:192.168.001.254:8080", "ip:<ip>:8080"),
        ("10.0.0.256", "10.0.0.256"),
        ("firmware v1.2.3.4", "firmware v1.2.3.4"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("[2001:db8::8a2e:370:7334]", "[<ip>]"),
        ("fe80::1 here", "<ip> here"),
        ("12:30:45", "12:30:45"),
        ("::", "::"),
        ("std::vector", "std::vector"),
        ("00:1a:2b:3c:4d:5e", "00:1a:2b:3c:4d:5e"),
    ],
)
def test_ips(text: str, wanted: str) -> None:
    assert replace_ips(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://anna:pw@shop.example/cart?x=1 please", "<url> please"),
        ("看https://anna@shop.example/cart", "看<url>"),
        ("https://shop.example/cart?session=1", "<url>"),
        ("https://shop.example/reset#access_token=1", "<url>"),
        ("https://shop.example/@brand?page=2", "https://shop.example/@brand?page=2"),
        ("http://", "http://"),
    ],
)
def test_urls(text: str, wanted: str) -> None:
    assert replace_urls(text) == wanted
