"""Takes personal data out of free text: e-mail addresses, phone numbers, Chinese resident ids, payment cards, IP addresses
and addresses of web pages with credentials. Part numbers, ISBNs, sizes and prices stay.

Every pattern has a plain-text guard in front, so that text without digits, ``@`` or ``:`` costs next to nothing, and no
pattern has nested repetition, so that no text makes it slow.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable

EMAIL, PHONE, RESIDENT_ID, CARD, IP, URL = "<email>", "<phone>", "<id>", "<card>", "<ip>", "<url>"

_SUSPECT = re.compile(r"@|://|\d[\d\s().\-+/]{4,}\d|[0-9a-f]:[0-9a-f:]", re.IGNORECASE)
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x180E, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])

_URL_WITH_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.\-]{1,20}://[^\s/@]{1,256}@[^\s]{1,512}", re.IGNORECASE)
_URL_WITH_SECRET = re.compile(
    r"[a-z][a-z0-9+.\-]{1,20}://[^\s]{1,512}[?&;](?:token|password|passwd|pwd|secret|api_?key|access_token|auth|session|sid)=[^\s]{0,512}",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"'，。；：、！？（）]{1,64}\s?@\s?[^\s@<>()\[\],;:\"'，。；：、！？（）]{1,190}", re.IGNORECASE)
_ADDRESS_CHARACTERS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\-\u00c0-\u024f]+")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")
_IPV6 = re.compile(r"(?<![0-9a-z:.])[0-9a-f:]{2,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![0-9a-z:])", re.IGNORECASE)
_RESIDENT_ID = re.compile(r"(?<![0-9a-z])\d(?:[ \-]?\d){16}[ \-]?[\dXx](?![0-9a-z])", re.IGNORECASE)
_DIGIT_RUN = re.compile(r"(?<![0-9a-z.])(?:\+\s?|\()?\d(?:[ .\-()/]{0,2}\d){5,22}(?![0-9]|[.,]\d|[a-z])", re.IGNORECASE | re.ASCII)
_CHINESE_MOBILE = re.compile(r"(?<!\d)(?:(?:\+|00)?86[ \-.]{0,2})?1[ \-.]{0,2}[3-9](?:[ \-.]{0,2}\d){9}(?!\d)")
_DATE = re.compile(
    r"(?:19|20)\d{2}[\-./ ](?:0?[1-9]|1[0-2])[\-./ ](?:0?[1-9]|[12]\d|3[01])|(?:0?[1-9]|[12]\d|3[01])[\-./ ](?:0?[1-9]|1[0-2])[\-./ ](?:19|20)\d{2}"
)

_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def scrub(text: str) -> tuple[str, bool]:
    """The text without personal data, and whether anything was taken out.

    >>> scrub("red shoes for anna@example.com")
    ('red shoes for <email>', True)
    >>> scrub("索尼耳机 联系 138-0013-8000")
    ('索尼耳机 联系 <phone>', True)
    >>> scrub("ISBN 978-3-16-148410-0")
    ('ISBN 978-3-16-148410-0', False)
    """
    if text.isascii():
        plain = text
    else:
        # Full-width digits and letters hide numbers, invisible characters break them up.
        plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    if not _SUSPECT.search(plain):
        return text, False
    result = plain
    if "://" in result:
        result = _URL_WITH_SECRET.sub(URL, _URL_WITH_CREDENTIALS.sub(URL, result))
    if "@" in result:
        result = _EMAIL.sub(_email, result)
    result = _RESIDENT_ID.sub(_if(is_resident_id, RESIDENT_ID), result)
    result = _IPV4.sub(_if(_is_ip, IP), result)
    if ":" in result:
        result = _IPV6.sub(_if(_is_ip, IP), result)
    result = _CHINESE_MOBILE.sub(_mobile, result)
    result = _DIGIT_RUN.sub(_digits, result)
    return (text, False) if result == plain else (result, True)


def is_resident_id(text: str) -> bool:
    """Chinese resident id: 17 digits and the check character of GB 11643-1999 (ISO 7064 MOD 11-2), with a possible birth date."""
    characters = re.sub(r"[ \-]", "", text).upper()
    if len(characters) != 18:
        return False
    month, day = int(characters[10:12]), int(characters[12:14])
    if not (characters[6:8] in ("18", "19", "20") and 1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(characters[:17], _RESIDENT_WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == characters[17]


def luhn(digits: str) -> bool:
    """Check digit of payment cards (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_isbn(digits: str) -> bool:
    """ISBN-10 or ISBN-13 (ISO 2108), and with it every EAN-13."""
    if len(digits) == 13:
        return sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10 == 0
    if len(digits) == 10:
        return sum(int(d) * (10 - i) for i, d in enumerate(digits)) % 11 == 0
    return False


def _if(test: Callable[[str], bool], mark: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        return mark if test(match.group()) else match.group()

    return replace


def _email(match: re.Match[str]) -> str:
    # In Chinese text no space parts the address from the words around it: only what may stand in an address goes.
    local, _, domain = match.group().partition("@")
    local, domain = local.rstrip(), domain.lstrip()
    ends = [m for m in _ADDRESS_CHARACTERS.finditer(local) if m.end() == len(local)]
    kept = local[: ends[-1].start()] if ends else ""
    begin = _ADDRESS_CHARACTERS.match(domain)
    rest = domain[begin.end() :] if begin else domain if "." not in domain else ""
    if not ends and not begin:
        return kept + EMAIL
    return kept + EMAIL + rest


def _is_ip(text: str) -> bool:
    if ":" in text and text.count(":") < 2:
        return False
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not address.is_unspecified


def _mobile(match: re.Match[str]) -> str:
    # A longer number that merely contains one (a part number, an EAN) stays: letters or digits right beside it tell.
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    joined = (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha())
    return match.group() if joined else PHONE


def _digits(match: re.Match[str]) -> str:
    text = match.group()
    digits = "".join(filter(str.isdigit, text))
    bare = text.strip("+( ")
    if 13 <= len(digits) <= 19 and luhn(digits) and not is_isbn(digits):
        return CARD
    if is_isbn(digits) or _DATE.match(bare):
        return text
    if text.startswith("+") and 8 <= len(digits) <= 15:
        return PHONE
    if digits.startswith("00") and 10 <= len(digits) <= 17:
        return PHONE
    if digits.startswith("0") and 9 <= len(digits) <= 12 and digits != text:
        return PHONE  # trunk prefix, written with separators: 010-6552 9988, 0171 234 5678
    if digits.startswith("0") and 10 <= len(digits) <= 12:
        return PHONE
    if re.fullmatch(r"\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}", text) or re.fullmatch(r"400[ \-]?\d{3}[ \-]?\d{4}", text):
        return PHONE  # North America; Chinese service numbers
    return text
