"""The shop's ids of requests, such as ticket numbers. They are kept as they are, for receipts, so they must not tell who asks."""

from __future__ import annotations

import re

from streams.privacy.kinds import kinds_of
from streams.privacy.scrub import scrub

_REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,127}")
_ALLOWED = kinds_of("token,order,document")
"""What ids of requests look like."""


def why_no_request_id(text: str) -> str | None:
    """What is wrong with it; None where it can be kept.

    >>> why_no_request_id("ticket-4711"), why_no_request_id("6f9619ff8b86d011b42d00c04fc964ff")
    (None, None)
    >>> why_no_request_id("anna@example.org")
    'request_id must be 1 to 128 of A-Z, a-z, 0-9, . _ : / # and -, and begin with a letter or digit'
    """
    if _REQUEST.fullmatch(text) is None:
        return "request_id must be 1 to 128 of A-Z, a-z, 0-9, . _ : / # and -, and begin with a letter or digit"
    if scrub(text, _ALLOWED)[1]:
        return "request_id looks like personal data, such as a telephone number; use an id of the request"
    return None
